import subprocess
import sys
from pathlib import Path

import pytest

from edgeweave.targets.board_file import bundled_boards, load_board
from edgeweave.targets.errors import TargetError

BOARDS = (
    "agx-orin",
    "imx8mp",
    "imx93",
    "qcs6490",
    "quad-virt",
    "rk3588",
    "tda4vm",
    "xavier-nx",
)


def test_the_eight_boards_are_bundled() -> None:
    assert bundled_boards() == BOARDS


@pytest.mark.parametrize("name", BOARDS)
def test_a_bundled_board_loads_and_every_number_has_an_origin(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert not board.is_host
    quantities = board.quantities()
    assert len(quantities) > 4 * len(board.engines)
    for key, quantity in quantities.items():
        assert len(quantity.origin) >= 8, key
        assert quantity.value > 0, key


@pytest.mark.parametrize("name", BOARDS)
def test_cpu_engines_of_bundled_boards_have_code_and_npus_compute_int8_only(name: str) -> None:
    for engine in load_board(name).engines:
        if engine.kind == "cpu":
            assert engine.backends == ("cpu", "onnxruntime")
            assert engine.llvm_target["mtriple"] == "aarch64-linux-gnu"
            assert engine.cores
        if engine.kind == "npu":
            assert set(engine.peak_gops) == {"int8"}


@pytest.mark.parametrize(
    ("board", "engine", "gops"),
    [("imx93", "npu", 512.0), ("rk3588", "npu0", 2048.0), ("tda4vm", "mma", 8000.0)],
)
def test_npu_peaks_agree_with_their_multiply_adds_per_cycle(
    board: str, engine: str, gops: float
) -> None:
    assert load_board(board).engine(engine).peak_gops["int8"].value == gops


def test_recalled_numbers_of_bundled_boards_are_marked() -> None:
    quantities = load_board("imx8mp").quantities()
    assert not quantities["memory.dram_gb_s"].is_sourced
    assert quantities["engine.a53.clock_ghz"].is_sourced


def test_core_types_that_differ_are_separate_engines() -> None:
    assert [e.name for e in load_board("qcs6490").engines if e.kind == "cpu"] == [
        "gold-plus",
        "gold",
        "silver",
    ]


def test_an_unknown_board_name_is_met_with_the_names_and_a_guess() -> None:
    with pytest.raises(TargetError) as caught:
        load_board("imx8pm")
    assert "Did you mean imx8mp?" in str(caught.value)
    assert all(name in str(caught.value) for name in ("host", *BOARDS))


def test_a_board_name_like_no_other_still_lists_the_names() -> None:
    with pytest.raises(TargetError, match="Boards are host, agx-orin") as caught:
        load_board("zzzz")
    assert "Did you mean" not in str(caught.value)


def test_a_board_is_read_from_a_path(tmp_path: Path) -> None:
    import edgeweave.targets

    bundled = Path(edgeweave.targets.__path__[0], "boards", "imx93.toml")
    own = tmp_path / "own.toml"
    own.write_text(bundled.read_text().replace('name = "imx93"', 'name = "mine"', 1))
    assert load_board(str(own)).name == "mine"


def test_a_missing_board_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"none\.toml: cannot be read: No such file"):
        load_board(str(tmp_path / "none.toml"))


def test_a_folder_is_no_board_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be read: Is a directory"):
        load_board(str(tmp_path))


def test_a_path_with_a_null_character_is_an_error() -> None:
    with pytest.raises(TargetError, match="cannot be read"):
        load_board("a\0b.toml")


def test_a_board_file_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(TargetError, match=r"latin\.toml: is not a text file in UTF-8"):
        load_board(str(path))


def test_loading_a_bundled_board_imports_nothing_heavy() -> None:
    code = (
        "import sys; from edgeweave.targets.board_file import load_board; load_board('imx8mp');"
        "print([m for m in ('numpy', 'onnx', 'tvm', 'onnxruntime', 'edgeweave.targets.host')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_host_is_the_detected_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(tmp_path))
    board = load_board("host")
    assert board.is_host
    assert [path.name for path in tmp_path.iterdir()] == [f"host-{board.identity}.json"]
