import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.errors import TargetError

NUMBER = '{ value = 0.5, origin = "a document" }'
ENGINE = f"""
[[engine]]
name = "%s"
kind = "%s"
description = "an engine"
backends = ["%s"]
peak_%s_gops = {NUMBER}
compute_efficiency = {NUMBER}
memory_efficiency = {NUMBER}
call_overhead_us = {NUMBER}
"""
CPU = (
    ENGINE % ("big", "cpu", "cpu", "float32")
    + f"""clock_ghz = {NUMBER}
cores = [0, 1]
llvm_target = {{ mtriple = "aarch64-linux-gnu", mcpu = "cortex-a53", mattr = ["+neon"] }}
"""
)
LINK = f"""
[[link]]
between = ["big", "npu"]
bandwidth_gb_s = {NUMBER}
latency_us = {NUMBER}
"""
GOOD = (
    f'name = "b"\ndescription = "a board"\n[memory]\ndram_gb_s = {NUMBER}\n'
    + CPU
    + ENGINE % ("npu", "npu", "handoff", "int8")
    + LINK
)


def with_clock(text: str) -> str:
    return GOOD.replace(f"clock_ghz = {NUMBER}", text)


def edited(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_a_sound_file_becomes_the_board_it_describes() -> None:
    board = parse_board(GOOD, "b.toml")
    assert (board.name, board.identity, board.is_host) == ("b", "b", False)
    big = board.engine("big")
    assert (big.kind, big.cores, big.backends) == ("cpu", (0, 1), ("cpu",))
    assert big.llvm_target == {
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a53",
        "mattr": ("+neon",),
    }
    assert big.clock_ghz is not None
    assert (big.clock_ghz.value, big.clock_ghz.origin) == (0.5, "a document")
    assert board.link("npu", "big").latency_us.value == 0.5


def test_what_a_file_may_say_of_contention_power_and_weights() -> None:
    plain = parse_board(GOOD, "b.toml")
    assert plain.contention_knee_gb_s is plain.contention_slope is None
    assert plain.engine("big").power_w is plain.engine("big").weights_mib is None
    memory = f"dram_gb_s = {NUMBER}"
    knee = 'contention_knee_gb_s = { value = 0.4, origin = "a paper" }'
    text = edited(memory, f"{memory}\n{knee}\ncontention_slope = {NUMBER}").replace(
        f"clock_ghz = {NUMBER}", f"power_w = {NUMBER}\nweights_mib = {NUMBER}"
    )
    board = parse_board(text, "b.toml")
    found = board.quantities()
    assert found["memory.contention_knee_gb_s"].value == 0.4
    assert found["memory.contention_slope"].value == 0.5
    assert found["engine.big.power_w"].origin == "a document"
    assert found["engine.big.weights_mib"].value == 0.5


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"contention_slope = {NUMBER}", r"contention_slope: needs contention_knee_gb_s, above"),
        (
            'contention_knee_gb_s = { value = 0.6, origin = "x" }',
            r"contention_knee_gb_s: 0\.6 is above the 0\.5 of dram_gb_s\. Engines slow",
        ),
        ("contention_knee = 1", r"contention_knee: unknown key.*write contention_knee_gb_s"),
        ("contention_slope = 1", r"contention_slope: a number without an origin"),
    ],
)
def test_contention_that_cannot_be_is_an_error(line: str, told: str) -> None:
    memory = f"dram_gb_s = {NUMBER}"
    with pytest.raises(TargetError, match=told):
        parse_board(edited(memory, f"{memory}\n{line}"), "b.toml")


def test_power_without_its_unit_is_an_error() -> None:
    with pytest.raises(TargetError, match="write power_w"):
        parse_board(with_clock("power = 3"), "b.toml")


def test_a_revision_is_part_of_the_identity() -> None:
    text = edited('description = "a board"', 'description = "a board"\nrevision = "B"')
    assert parse_board(text, "b.toml").identity == "b B"


BAD = {
    "invalid TOML": ("name = ", "is not valid TOML"),
    "unknown key": (edited("cores =", "corse ="), r"engine\.big\.corse: unknown key.*mean cores"),
    "unknown top key": ("vendor = 1\n" + GOOD, "key vendor: unknown key"),
    "unknown memory key": (edited("dram_gb_s", "dram_gbs"), r"memory\.dram_gbs.*dram_gb_s"),
    "key without its unit": (
        with_clock("clock = 1.8"),
        r"engine\.big\.clock: unknown key.*Units belong in the key name: write clock_ghz",
    ),
    "key with another unit": (with_clock("clock_mhz = 1800"), "write clock_ghz"),
    "peak without its unit": (
        edited("peak_int8_gops", "peak_int8"),
        r"engine\.npu\.peak_int8: .*write peak_int8_gops",
    ),
    "link key without its unit": (edited("latency_us", "latency"), "write latency_us"),
    "missing top key": (edited('description = "a board"', ""), "key description: missing"),
    "missing engine key": (
        edited(f"memory_efficiency = {NUMBER}", ""),
        r"engine\.big\.memory_efficiency: missing",
    ),
    "missing engine name": (edited('name = "big"', ""), r"engine\[0\]\.name: missing"),
    "engine name of a wrong type": (edited('name = "big"', "name = 1"), r"engine\[0\]\.name.*str"),
    "missing link key": (edited(f"latency_us = {NUMBER}", ""), r"link\[0\]\.latency_us: missing"),
    "missing memory": (
        edited(f"[memory]\ndram_gb_s = {NUMBER}", ""),
        "key memory: missing",
    ),
    "memory of a wrong type": (
        edited(f"[memory]\ndram_gb_s = {NUMBER}", "memory = 3"),
        "key memory: must be a table, not a number",
    ),
    "engine of a wrong type": (
        edited(CPU, "").replace(ENGINE % ("npu", "npu", "handoff", "int8"), "[engine]\n"),
        r"key engine: must be written as \[\[engine\]\]",
    ),
    "engine that is no table": (
        'name = "b"\ndescription = "a board"\nengine = [1]\nmemory.dram_gb_s = ' + NUMBER,
        r"engine\[0\]: must be a table",
    ),
    "empty name": (edited('name = "b"', 'name = " "'), "key name: must not be empty"),
    "reserved name": (edited('name = "b"', 'name = "host"'), '"host" is the name of the machine'),
    "text of a wrong type": (
        edited('description = "an engine"', "description = 1979-05-27"),
        r"engine\.big\.description: must be a string, not a date",
    ),
    "number without an origin": (
        with_clock("clock_ghz = 1.8"),
        r"engine\.big\.clock_ghz: a number without an origin\. Write clock_ghz = \{",
    ),
    "value without an origin": (
        with_clock("clock_ghz = { value = 1.8 }"),
        r"clock_ghz: a number without an origin",
    ),
    "origin without a value": (
        with_clock('clock_ghz = { origin = "x" }'),
        r"clock_ghz\.value: missing",
    ),
    "empty origin": (
        with_clock('clock_ghz = { value = 1.8, origin = " " }'),
        r"clock_ghz\.origin: must not be empty",
    ),
    "origin of a wrong type": (
        with_clock("clock_ghz = { value = 1.8, origin = 3 }"),
        r"clock_ghz\.origin: must be a string, not a number",
    ),
    "unknown key in a number": (
        with_clock('clock_ghz = { value = 1.8, origin = "x", unit = "GHz" }'),
        r"clock_ghz\.unit: unknown key",
    ),
    "number written as text": (
        with_clock('clock_ghz = "1.8 GHz"'),
        r"clock_ghz: must be a table, not a string",
    ),
    "value of a wrong type": (
        with_clock('clock_ghz = { value = "1.8", origin = "x" }'),
        r"clock_ghz\.value: must be a number, not a string",
    ),
    "value that is a truth value": (
        with_clock('clock_ghz = { value = true, origin = "x" }'),
        r"clock_ghz\.value: must be a number, not a boolean",
    ),
    "zero": (with_clock('clock_ghz = { value = 0, origin = "x" }'), "0 is not a positive number"),
    "negative": (
        with_clock('clock_ghz = { value = -1.5, origin = "x" }'),
        r"-1\.5 is not a positive",
    ),
    "not a number": (
        with_clock('clock_ghz = { value = nan, origin = "x" }'),
        "nan is not a positive",
    ),
    "infinite": (
        with_clock('clock_ghz = { value = inf, origin = "x" }'),
        "inf is not a positive",
    ),
    "efficiency above one": (
        edited(
            f"compute_efficiency = {NUMBER}", 'compute_efficiency = { value = 1.1, origin = "x" }'
        ),
        r"engine\.big\.compute_efficiency: 1\.1 is not a share",
    ),
    "memory efficiency above one": (
        edited(f"memory_efficiency = {NUMBER}", 'memory_efficiency = { value = 7, origin = "x" }'),
        r"engine\.big\.memory_efficiency: 7\.0 is not a share",
    ),
    "unknown kind": (
        edited('kind = "npu"', 'kind = "npuu"'),
        r"engine\.npu\.kind: unknown engine kind 'npuu'\. Did you mean npu\?",
    ),
    "unknown backend": (
        edited('"handoff"', '"handof"'),
        r"engine\.npu\.backends: unknown backend 'handof'\. Did you mean handoff\?",
    ),
    "no backend": (edited('["handoff"]', "[]"), r"engine\.npu\.backends: must name at least one"),
    "backend twice": (edited('["cpu"]', '["cpu", "cpu"]'), "names 'cpu' twice"),
    "backends of a wrong type": (edited('["handoff"]', '"handoff"'), "must be an array of strings"),
    "no peak": (edited(f"peak_int8_gops = {NUMBER}", ""), r"engine\.npu: has no peak"),
    "cpu without a float32 peak": (
        edited("peak_float32_gops", "peak_float16_gops"),
        r"engine\.big\.peak_float32_gops: missing",
    ),
    "cpu without cores": (edited("cores = [0, 1]", ""), r"engine\.big\.cores: missing"),
    "cores of a wrong type": (edited("[0, 1]", "[0, 1.5]"), r"engine\.big\.cores: must be an"),
    "negative core": (edited("[0, 1]", "[-1]"), r"engine\.big\.cores: must be an array"),
    "core twice": (edited("[0, 1]", "[1, 1]"), r"engine\.big\.cores: must be an array"),
    "core that is a truth value": (edited("[0, 1]", "[true]"), r"cores: must be an array"),
    "npu with cores": (
        edited('kind = "npu"', 'kind = "npu"\ncores = [4]'),
        r"engine\.npu\.cores: belongs to cpu engines",
    ),
    "cpu without a target": (
        "\n".join(line for line in GOOD.splitlines() if not line.startswith("llvm_target")),
        r"engine\.big\.llvm_target: missing",
    ),
    "unknown target key": (edited("mattr =", "mattrs ="), r"llvm_target\.mattrs: unknown key"),
    "target without a cpu": (edited('mcpu = "cortex-a53", ', ""), r"llvm_target\.mcpu: missing"),
    "target attributes of a wrong type": (
        edited('["+neon"]', "[1]"),
        r"llvm_target\.mattr: must be an array of strings",
    ),
    "engine twice": (
        GOOD + CPU.replace("[0, 1]", "[2]"),
        r"engine\.big: is described twice",
    ),
    "core in two engines": (
        GOOD + CPU.replace('"big"', '"little"').replace("[0, 1]", "[1, 2]"),
        r"engine\.little\.cores: core 1 is also of big",
    ),
    "no cpu": (edited(CPU, "").replace(LINK, ""), "no engine is of kind cpu"),
    "link to an unknown engine": (
        edited('["big", "npu"]', '["big", "npv"]'),
        r"link\[0\]\.between: unknown engine 'npv'\. Did you mean npu\?",
    ),
    "link of an engine with itself": (
        edited('["big", "npu"]', '["big", "big"]'),
        "two different engines",
    ),
    "link of one engine": (edited('["big", "npu"]', '["big"]'), "two different engines"),
    "link ends of a wrong type": (edited('["big", "npu"]', "3"), "must be an array of strings"),
    "link of a wrong type": ("link = 3\n" + GOOD.replace(LINK, ""), r"written as \[\[link\]\]"),
    "missing link": (edited(LINK, ""), r"no link joins big and npu\. Add a \[\[link\]\] with"),
    "link twice": (
        GOOD + LINK.replace('["big", "npu"]', '["npu", "big"]'),
        "link.big-npu: is described twice",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_in_a_board_file_is_named(case: str) -> None:
    text, message = BAD[case]
    with pytest.raises(TargetError, match=message) as caught:
        parse_board(text, "my/b.toml")
    assert caught.value.subject == "my/b.toml"


@given(st.integers(0, len(GOOD) - 1), st.text(max_size=3))
def test_any_edit_of_a_file_gives_a_board_or_a_target_error(at: int, text: str) -> None:
    with contextlib.suppress(TargetError):
        board = parse_board(GOOD[:at] + text + GOOD[at + 1 :], "b.toml")
        assert all(q.origin and q.value > 0 for q in board.quantities().values())
