import pytest

from edgeweave.targets.board_file import bundled_boards, load_board
from edgeweave.targets.errors import TargetError
from edgeweave.targets.handoff.settings import find_tool
from edgeweave.targets.handoff.tools import TOOLS


def test_each_vendor_table_finds_its_tool(make_npu, vendor):
    assert find_tool(make_npu(vendor)) is TOOLS[vendor["tool"]]


def test_an_engine_without_a_table_has_no_tool(make_npu):
    assert find_tool(make_npu({})) is None


def test_every_bundled_engine_that_is_handed_over_names_a_tool_and_its_settings():
    found = {
        (board, engine.name): tool.name
        for board in bundled_boards()
        for engine in load_board(board).engines
        if "handoff" in engine.backends and (tool := find_tool(engine))
    }
    assert found == {
        ("agx-orin", "dla0"): "dla",
        ("agx-orin", "dla1"): "dla",
        ("imx8mp", "npu"): "vip8000",
        ("qcs6490", "htp"): "qnn",
        ("rk3588", "npu0"): "rknn",
        ("rk3588", "npu1"): "rknn",
        ("rk3588", "npu2"): "rknn",
        ("tda4vm", "mma"): "tidl",
        ("xavier-nx", "dla0"): "dla",
        ("xavier-nx", "dla1"): "dla",
    }


RKNN = {"tool": "rknn", "target_platform": "rk3588"}
WRONG = {
    "no tool": ({"core": "0"}, r"vendor\.tool is missing\. Known are rknn, tidl, qnn, dla, vip8"),
    "unknown tool": ({"tool": "rknnn"}, r"vendor\.tool 'rknnn' is not known\. Did you mean rknn\?"),
    "strange tool": ({"tool": "gcc"}, r"vendor\.tool 'gcc' is not known\. Known are rknn, tidl"),
    "missing key": (
        {"tool": "rknn"},
        r"vendor\.target_platform is missing, which RKNN-Toolkit2 needs\. Known are rk3562",
    ),
    "unknown key": (
        RKNN | {"target_plattform": "rk3588"},
        r"vendor\.target_plattform is not known to the tool rknn\. Did you mean target_platform\?",
    ),
    "key of another tool": (
        {"tool": "vip8000", "dsp_arch": "v68"},
        r"vendor\.dsp_arch is not known to the tool vip8000\. Known are tool, delegate",
    ),
    "unknown value": (
        {"tool": "rknn", "target_platform": "rk9999"},
        r"vendor\.target_platform 'rk9999' is not a value of the tool rknn\. Known are rk3562",
    ),
    "a value that would leave its script": (
        {"tool": "vip8000", "delegate": "x; rm -r /"},
        r"vendor\.delegate 'x; rm -r /' is not a value of the tool vip8000\. Use letters",
    ),
}


@pytest.mark.parametrize(("vendor", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_table_is_an_error_that_names_the_engine_and_the_key(make_npu, vendor, message):
    with pytest.raises(TargetError, match=f"engine npu0: {message}"):
        find_tool(make_npu(vendor))
