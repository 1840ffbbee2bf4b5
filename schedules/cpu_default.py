"""The default schedule of a fused kernel on a CPU: tile, vectorise, and share among threads.

It is used for every kernel that no tuning record covers. TVM itself leaves CPU loops as they were
written: one element at a time, on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.tirx import PrimFunc

_SPATIAL, _REDUCTION = 0, 2  # tvm.tirx.IterVar's kinds: data parallel, commutative reduction
_CHANNEL_TILE = 4  # output channels per register tile: one loaded vector feeds this many sums
_WORTH_A_LOOP = 256  # elements below which threads and vectors cost more than they give


def schedule_kernel(function: PrimFunc, lanes: int) -> PrimFunc:
    """Schedule one PrimFunc for vectors of ``lanes`` elements.

    Elementwise blocks are inlined; what remains is tiled. Raises TVM's own error where the loops
    do not allow it; the caller then keeps the function as it was.
    """
    schedule = Schedule(IRModule({"main": function}), error_render_level="none")
    _inline_elementwise(schedule)
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        _tile(schedule, block, lanes)
    return schedule.mod["main"].with_attrs(dict(function.attrs))


def _inline_elementwise(schedule: Schedule) -> None:
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        if _REDUCTION in _kinds(schedule, block):
            continue
        for inline in (schedule.compute_inline, schedule.reverse_compute_inline):
            try:
                inline(block)
                break
            except Exception:  # noqa: BLE001 - TVM's one way to say that it does not apply
                continue


def _tile(schedule: Schedule, block: Any, lanes: int) -> None:
    loops, kinds = schedule.get_loops(block), _kinds(schedule, block)
    if len(loops) != len(kinds) or not set(kinds) <= {_SPATIAL, _REDUCTION}:
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCTION]
    if not spatial:
        return
    if reduction:
        _tile_reduction(schedule, block, spatial, reduction, lanes)
    else:
        _tile_elementwise(schedule, spatial, lanes)


def _tile_elementwise(schedule: Schedule, spatial: Sequence[Any], lanes: int) -> None:
    flat = schedule.fuse(*spatial) if len(spatial) > 1 else spatial[0]
    if _extent(schedule, flat) < _WORTH_A_LOOP:
        return
    outer, inner = schedule.split(flat, [None, lanes])
    schedule.vectorize(inner)
    schedule.parallel(outer)


def _tile_reduction(
    schedule: Schedule, block: Any, spatial: list[Any], reduction: list[Any], lanes: int
) -> None:
    """Outer tiles in parallel; then the reduction; innermost a channel tile of vectors."""
    outer, innermost = spatial[:-1], spatial[-1]
    inner: list[Any] = []
    if outer and _extent(schedule, innermost) >= lanes // 2:
        channel = next(
            (i for i, p in enumerate(outer) if _extent(schedule, p) >= _CHANNEL_TILE), None
        )
        if channel is not None and _extent(schedule, outer[channel]) % _CHANNEL_TILE == 0:
            outer[channel], tile = schedule.split(outer[channel], [None, _CHANNEL_TILE])
            inner.append(tile)
        column, vector = schedule.split(innermost, [None, lanes])
        outer.append(column)
        inner.append(vector)
    else:
        outer.append(innermost)
    schedule.reorder(*outer, *reduction, *inner)
    shared = outer[: max(1, len(outer) - 1)]
    schedule.parallel(schedule.fuse(*shared) if len(shared) > 1 else shared[0])
    if inner:
        schedule.vectorize(inner[-1])
    for tile in inner[:-1]:
        schedule.unroll(tile)
    schedule.decompose_reduction(block, reduction[0])


def _kinds(schedule: Schedule, block: Any) -> list[int]:
    return [int(var.iter_type) for var in schedule.get(block).iter_vars]


def _extent(schedule: Schedule, loop: Any) -> int:
    """Trip count of a loop; 0 when it is not a constant."""
    extent = schedule.get(loop).extent
    value = getattr(extent, "value", extent)
    return value if isinstance(value, int) else 0
