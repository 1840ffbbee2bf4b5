from dataclasses import replace

import pytest

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import Cost, Source
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.cost_model import cost_table, transfer
from edgeweave.partition.prediction.measurements import MeasureKey
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.board import Board, Engine, Link, Quantity
from edgeweave.targets.board_file import bundled_boards, load_board
from edgeweave.targets.region import Operator, Region, RegionGraph


def q(value: float) -> Quantity:
    return Quantity(value, "test")


def engine(name: str, kind: str, backends: tuple[str, ...], **peaks: float) -> Engine:
    numbers = (q(0.5), q(0.25), q(20.0))
    target = {"mcpu": name} if kind == "cpu" else {}
    return Engine(
        name, kind, "", backends, {p: q(v) for p, v in peaks.items()}, *numbers, llvm_target=target
    )


BOARD = Board(
    "b",
    "",
    (
        engine("big", "cpu", ("cpu", "onnxruntime"), float32=100.0),
        engine("small", "cpu", ("cpu",), float32=10.0),
        engine("npu", "npu", ("handoff",), int8=1000.0),
    ),
    (
        Link(("big", "small"), q(4.0), q(10.0)),
        Link(("npu", "big"), q(2.0), q(50.0)),
        Link(("small", "npu"), q(2.0), q(60.0)),
    ),
    q(16.0),
    identity="id",
)
SLOTS = (
    Slot("big", "cpu"),
    Slot("big", "onnxruntime"),
    Slot("small", "cpu"),
    Slot("npu", "handoff"),
)
TENSOR = 1000 * 4  # bytes of each value below


def value(name: str) -> ValueSpec:
    return ValueSpec(name, "tensor(float)", (1000,))


def region(index: int, reads: str, writes: str, digest: str) -> Region:
    operator = Operator("Conv", "", f"c{index}")
    inputs, outputs = (value(reads),), (value(writes),)
    return Region(index, (operator,), inputs, outputs, 10**8, 10**4, 0, "int8", digest)


GRAPH = RegionGraph(
    (region(0, "in", "x", "first"), region(1, "x", "y", "mid"), region(2, "y", "out", "last")),
    (value("in"),),
    (value("out"),),
)


def take_all(region: Region, engine: Engine, backend: str) -> None:
    return None


def seconds(cost: Cost | Refusal) -> float:
    assert isinstance(cost, Cost)
    return cost.seconds


def test_there_is_one_slot_per_engine_and_backend() -> None:
    table = cost_table(GRAPH, BOARD, refuse=take_all)
    assert table.slots == SLOTS
    assert table.regions == ("r000 Conv", "r001 Conv", "r002 Conv")
    assert table.values == GRAPH.values
    assert table.dram_bytes == (10**4,) * 3
    assert table.dram_bytes_per_s == 16e9
    assert table.stage_overhead_s == pytest.approx((20e-6,) * 4)


def test_without_measurements_the_roofline_is_the_cost() -> None:
    row = cost_table(GRAPH, BOARD, refuse=take_all).costs[1]
    expected = [1e8 / (gops * 0.5e9) for gops in (100.0, 100.0, 10.0, 1000.0)]
    assert [seconds(cost) for cost in row] == pytest.approx(expected)
    assert all(isinstance(cost, Cost) and cost.source is Source.ROOFLINE for cost in row)


def test_the_models_inputs_and_outputs_are_charged_on_an_accelerator_only() -> None:
    table = cost_table(GRAPH, BOARD, refuse=take_all)
    plain = 1e8 / (1000.0 * 0.5e9)
    # The first CPU's link with the NPU, and a conversion at the receiver's share of the DRAM.
    crossing = 50e-6 + TENSOR / 2e9 + 2 * TENSOR / (16e9 * 0.25)
    assert seconds(table.costs[0][3]) == pytest.approx(plain + crossing)
    assert seconds(table.costs[1][3]) == pytest.approx(plain)
    assert seconds(table.costs[2][3]) == pytest.approx(plain + crossing)
    for slot in range(3):
        assert table.costs[0][slot] == table.costs[1][slot]


def test_a_measured_cost_wins_and_loses_the_fixed_cost_of_its_call() -> None:
    key = MeasureKey("mid", "onnxruntime", "big", 1, "id")
    table = cost_table(GRAPH, BOARD, {key: 0.005}, take_all)
    assert table.costs[1][1] == Cost(0.005 - 20e-6, Source.MEASURED)
    row = table.costs[1]
    assert isinstance(row[0], Cost)
    assert row[0].source is Source.ROOFLINE


@pytest.mark.parametrize(("call_s", "expected"), [(0.00101, 0.001), (0.0004, 0.0004)])
def test_a_measured_cost_is_never_less_than_ideal_or_than_its_call(
    call_s: float, expected: float
) -> None:
    key = MeasureKey("mid", "cpu", "big", 1, "id")
    table = cost_table(GRAPH, BOARD, {key: call_s}, take_all)
    assert seconds(table.costs[1][0]) == pytest.approx(expected)


def test_a_measurement_of_another_board_engine_or_backend_is_not_used() -> None:
    keys = [
        MeasureKey("mid", "cpu", "big", 1, "other"),
        MeasureKey("mid", "cpu", "other", 1, "id"),
        MeasureKey("mid", "fake", "big", 1, "id"),
        MeasureKey("mid", "cpu", "big", 2, "id"),
    ]
    table = cost_table(GRAPH, BOARD, dict.fromkeys(keys, 1.0), take_all)
    assert table.costs == cost_table(GRAPH, BOARD, refuse=take_all).costs


def test_a_sum_of_measured_and_predicted_is_called_predicted() -> None:
    key = MeasureKey("first", "handoff", "npu", 1, "id")
    cost = cost_table(GRAPH, BOARD, {key: 0.005}, take_all).costs[0][3]
    assert isinstance(cost, Cost)
    assert cost.source is Source.ROOFLINE
    assert cost.seconds > 0.005


def test_a_refusal_takes_the_place_of_a_cost_even_when_measured() -> None:
    refusal = Refusal("test.no", "no")

    def refuse(region: Region, engine: Engine, backend: str) -> Refusal | None:
        return refusal if engine.name == "npu" else None

    key = MeasureKey("mid", "handoff", "npu", 1, "id")
    table = cost_table(GRAPH, BOARD, {key: 0.005}, refuse)
    assert [row[3] for row in table.costs] == [refusal] * 3
    assert table.seconds(1, 3) is None


def test_the_rules_of_the_installation_refuse_by_default() -> None:
    cpu = engine("big", "cpu", ("absent",), float32=100.0)
    row = cost_table(GRAPH, Board("b", "", (cpu,), (), q(16.0))).costs[0]
    reason = "backend absent is not part of this installation"
    assert row == (Refusal("backend.missing", reason),)


def test_the_same_slot_is_free_and_another_backend_costs_a_call() -> None:
    table = cost_table(GRAPH, BOARD, refuse=take_all)
    for i in range(4):
        free = table.transfers[i][i]
        assert free is not None
        assert free.seconds(10**9) == 0
    other = transfer(BOARD, SLOTS[0], SLOTS[1])
    assert other.fixed_s == pytest.approx(20e-6)
    assert other.s_per_byte == 0


def test_engines_of_one_kind_pay_the_link_alone() -> None:
    found = transfer(BOARD, SLOTS[0], SLOTS[2])
    assert found.fixed_s == pytest.approx(10e-6)
    assert found.s_per_byte == pytest.approx(1 / 4e9)
    assert found == transfer(BOARD, SLOTS[2], SLOTS[0])


def test_engines_of_unlike_kinds_convert_as_well() -> None:
    found = transfer(BOARD, SLOTS[2], SLOTS[3])
    assert found.fixed_s == pytest.approx(60e-6)
    assert found.s_per_byte == pytest.approx(1 / 2e9 + 2 / (16e9 * 0.25))


def test_a_board_without_a_cpu_cannot_be_costed() -> None:
    board = Board("b", "", (BOARD.engine("npu"),), (), q(16.0))
    with pytest.raises(PartitionError, match="board b: has no CPU engine"):
        cost_table(GRAPH, board, refuse=take_all)


def test_a_measured_call_replaces_the_engine_s_figure_on_its_slot_alone() -> None:
    slot = Slot("big", "onnxruntime")
    key = MeasureKey.of(GRAPH.regions[1], BOARD.engine("big"), "onnxruntime", BOARD)
    table = cost_table(GRAPH, BOARD, {key: 5e-3}, take_all, {slot: 1e-3})
    assert table.stage_overhead_s == pytest.approx((20e-6, 1e-3, 20e-6, 20e-6))
    assert seconds(table.costs[1][1]) == pytest.approx(4e-3)


@pytest.mark.parametrize(
    ("cache_bytes", "traffic"),
    [(2048, 10**4), (4096, 10**4 - 2 * TENSOR), (6144, 0)],
)
def test_what_fits_into_the_shared_cache_is_no_traffic(cache_bytes: int, traffic: int) -> None:
    weights = 10**4 - 2 * TENSOR
    regions = (replace(GRAPH.regions[0], weight_bytes=weights), *GRAPH.regions[1:])
    regions = (regions[0], replace(regions[1], weight_bytes=3000), regions[2])
    board = replace(BOARD, cache_mib=q(cache_bytes / 2**20))
    table = cost_table(replace(GRAPH, regions=regions), board, refuse=take_all)
    assert table.dram_bytes[0] == traffic


def with_engine(name: str, **stated: Quantity) -> Board:
    engines = tuple(replace(e, **stated) if e.name == name else e for e in BOARD.engines)
    return replace(BOARD, engines=engines)


def test_what_a_board_does_not_state_is_not_in_the_table() -> None:
    for board in (BOARD, *map(load_board, bundled_boards())):
        table = cost_table(GRAPH, board)
        assert table.memory_bytes == table.capacity_bytes == table.power_w == ()
        assert table.contention is None


def test_the_stated_power_of_an_engine_is_that_of_its_slots() -> None:
    table = cost_table(GRAPH, with_engine("big", power_w=q(3.0)), refuse=take_all)
    assert table.power_w == (3.0, 3.0, None, None)


def test_weights_fill_the_memory_that_is_stated_for_them() -> None:
    regions = tuple(replace(r, weight_bytes=100 + r.index) for r in GRAPH.regions)
    graph = replace(GRAPH, regions=regions)
    table = cost_table(graph, with_engine("npu", weights_mib=q(0.375)), refuse=take_all)
    assert table.memory_bytes == (100, 101, 102)
    assert table.engines == ("big", "small", "npu")
    assert table.capacity_bytes == (None, None, 384 * 1024)
    # Memory that may serve as a cache limits nothing.
    assert cost_table(graph, with_engine("npu", memory_mib=q(0.375))).capacity_bytes == ()


def test_the_stated_contention_is_the_tables() -> None:
    knee = replace(BOARD, contention_knee_gb_s=q(12.0))
    assert cost_table(GRAPH, knee).contention == Contention(12e9, 1.0)
    slope = replace(knee, contention_slope=q(0.7))
    assert cost_table(GRAPH, slope).contention == Contention(12e9, 0.7)
