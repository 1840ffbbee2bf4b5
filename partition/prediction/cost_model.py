"""Building the cost table of a model on a board. docs/costs.md explains the formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import Cost, CostTable, Source, Transfer
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.prediction.measurements import MeasureKey
from edgeweave.partition.prediction.roofline import ideal_seconds, roofline
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.region import Region, RegionGraph
from edgeweave.targets.rules import find_refusal

Refuse = Callable[[Region, Engine, str], Refusal | None]
Estimate = Callable[[Region, Engine, str], float | None]
_SOURCES = list(Source)  # best first


def cost_table(
    graph: RegionGraph,
    board: Board,
    measured: Mapping[MeasureKey, float] | None = None,
    refuse: Refuse = find_refusal,
    call_s: Mapping[Slot, float] | None = None,
    estimate: Estimate | None = None,
) -> CostTable:
    """What every region costs on every slot of the board, or why the slot refuses it.

    A slot is an engine and one of its backends. ``measured`` holds seconds of whole calls; a
    measured cost wins over ``estimate``, what a vendor's tool states for a region alone, and that
    over the roofline. ``call_s`` holds seconds of a call that computes nothing,
    of the slots where it was measured; elsewhere the engine's figure counts. Raises PartitionError
    for a board without a CPU engine.
    """
    slots = tuple(Slot(e.name, backend) for e in board.engines for backend in e.backends)
    entry = _entry_transfers(board)
    overhead = _overheads(board, slots, call_s or {})
    memory, capacity = _weights(graph, board, slots)
    return CostTable(
        regions=tuple(region.name for region in graph.regions),
        slots=slots,
        costs=tuple(
            tuple(
                _cost(
                    region,
                    slot,
                    board,
                    measured or {},
                    overhead[slot],
                    refuse,
                    estimate,
                    _entry_s(graph, region, entry),
                )
                for slot in slots
            )
            for region in graph.regions
        ),
        values=graph.values,
        transfers=tuple(tuple(transfer(board, a, b) for b in slots) for a in slots),
        stage_overhead_s=tuple(overhead[slot] for slot in slots),
        dram_bytes=_dram_bytes(graph, board),
        dram_bytes_per_s=board.dram_gb_s.value * 1e9,
        memory_bytes=memory,
        capacity_bytes=capacity,
        power_w=_powers(board, slots),
        contention=_contention(board),
    )


def _weights(
    graph: RegionGraph, board: Board, slots: tuple[Slot, ...]
) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """Bytes of weights of each region, and what each engine holds; nothing where none is limited.

    Engines are in the order of the slots.
    """
    names = dict.fromkeys(slot.engine for slot in slots)
    limits = tuple(board.engine(name).weights_mib for name in names)
    if all(limit is None for limit in limits):
        return (), ()
    return (
        tuple(region.weight_bytes for region in graph.regions),
        tuple(None if limit is None else int(limit.value * 2**20) for limit in limits),
    )


def _powers(board: Board, slots: tuple[Slot, ...]) -> tuple[float | None, ...]:
    """What the engine of each slot draws; nothing where no engine states it."""
    stated = (board.engine(slot.engine).power_w for slot in slots)
    powers = tuple(None if power is None else power.value for power in stated)
    return powers if any(power is not None for power in powers) else ()


def _contention(board: Board) -> Contention | None:
    """How engines slow each other down, where the board states it; a fair share without a slope."""
    knee, slope = board.contention_knee_gb_s, board.contention_slope
    if knee is None:
        return None
    return Contention(knee.value * 1e9, 1.0 if slope is None else slope.value)


def _dram_bytes(graph: RegionGraph, board: Board) -> tuple[int, ...]:
    """What each region must move through the memory that the engines share, in every frame.

    What fits into a shared cache can stay there: all weights together, and each value alone.
    """
    if board.cache_mib is None:
        return tuple(region.bytes_moved for region in graph.regions)
    cache = board.cache_mib.value * 2**20
    streams_weights = sum(region.weight_bytes for region in graph.regions) > cache
    return tuple(
        (region.weight_bytes if streams_weights else 0)
        + sum(s.nbytes or 0 for s in region.inputs + region.outputs if (s.nbytes or 0) > cache)
        for region in graph.regions
    )


def transfer(board: Board, a: Slot, b: Slot) -> Transfer:
    """The price of handing a value from slot ``a`` to slot ``b``.

    Within one engine, the fixed cost of a call. Between engines, the link; between engines of
    unlike kinds the receiver also converts dtype and layout: each byte is read and written once.
    """
    if a == b:
        return Transfer(0.0, 0.0, Source.ROOFLINE)
    to = board.engine(b.engine)
    if a.engine == b.engine:
        return Transfer(to.call_overhead_us.value / 1e6, 0.0, Source.ROOFLINE)
    return _between(board, board.engine(a.engine), to)


def _between(board: Board, a: Engine, b: Engine) -> Transfer:
    link = board.link(a.name, b.name)
    s_per_byte = 1 / link.bandwidth_gb_s.value
    if a.kind != b.kind:
        s_per_byte += 2 / (board.dram_gb_s.value * b.memory_efficiency.value)
    return Transfer(link.latency_us.value / 1e6, s_per_byte / 1e9, Source.ROOFLINE)


def _cost(
    region: Region,
    slot: Slot,
    board: Board,
    measured: Mapping[MeasureKey, float],
    overhead_s: float,
    refuse: Refuse,
    estimate: Estimate | None,
    entry_s: Mapping[str, float],
) -> Cost | Refusal:
    engine = board.engine(slot.engine)
    refusal = refuse(region, engine, slot.backend)
    if refusal is not None:
        return refusal
    dram_gb_s = board.dram_gb_s.value
    call_s = measured.get(MeasureKey.of(region, engine, slot.backend, board))
    stated_s = None if estimate is None else estimate(region, engine, slot.backend)
    if call_s is None and stated_s is not None:
        cost = Cost(stated_s, Source.VENDOR)
    elif call_s is None:
        cost = roofline(region, engine, dram_gb_s)
    else:
        # Never less than the ideal roofline: an overestimated overhead makes no region free.
        floor_s = min(call_s, ideal_seconds(region, engine, dram_gb_s))
        cost = Cost(max(call_s - overhead_s, floor_s), Source.MEASURED)
    extra_s = entry_s[engine.name]
    if extra_s == 0:
        return cost
    # A sum is only as good as its worst part.
    return Cost(cost.seconds + extra_s, max(cost.source, Source.ROOFLINE, key=_SOURCES.index))


def _overheads(
    board: Board, slots: tuple[Slot, ...], call_s: Mapping[Slot, float]
) -> dict[Slot, float]:
    """Seconds that a stage pays once on each slot, whatever it computes."""
    figures = {e.name: e.call_overhead_us.value / 1e6 for e in board.engines}
    return {slot: call_s.get(slot, figures[slot.engine]) for slot in slots}


def _entry_transfers(board: Board) -> dict[str, tuple[Transfer, Transfer] | None]:
    """How values of the model reach and leave each engine: by its link with the first CPU."""
    cpus = [engine for engine in board.engines if engine.kind == "cpu"]
    if not cpus:
        raise PartitionError(
            f"board {board.name}", "has no CPU engine", "The model's inputs arrive at a CPU"
        )
    return {
        engine.name: None
        if engine.kind == "cpu"
        else (_between(board, cpus[0], engine), _between(board, engine, cpus[0]))
        for engine in board.engines
    }


def _entry_s(
    graph: RegionGraph, region: Region, entry: Mapping[str, tuple[Transfer, Transfer] | None]
) -> dict[str, float]:
    """Seconds that the model's own inputs and outputs at this region add on each engine."""
    inputs = {spec.name for spec in graph.inputs}
    outputs = {spec.name for spec in graph.outputs}
    read = [spec.nbytes or 0 for spec in region.inputs if spec.name in inputs]
    written = [spec.nbytes or 0 for spec in region.outputs if spec.name in outputs]
    return {
        name: 0.0
        if ways is None
        else sum(ways[0].seconds(n) for n in read) + sum(ways[1].seconds(n) for n in written)
        for name, ways in entry.items()
    }
