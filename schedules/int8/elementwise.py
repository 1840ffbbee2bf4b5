"""Elementwise kernels of 8-bit integers: one loop over all axes that every operand has alike.

The default schedule runs over all axes too, but the remainders of its index keep TVM from seeing
that neighbours lie side by side, and bytes are then gathered one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm_ffi
from tvm import IRModule
from tvm.ir import TensorLoad, Var
from tvm.s_tir import SBlock, Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.tirx import BufferStore, IntImm, PrimFunc
from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import SHARED, cover, flat, loop, root

Views = list[tuple[Any, Any]]  # a parameter, and its elements without axes
_BYTES = ("int8", "uint8")
_SPATIAL = 0
_MOST_ELEMENTS = 2**31  # the kernel counts them in int32
_TASK = 4096  # elements of a line that are computed together


def schedule_elementwise(function: PrimFunc, lanes: int) -> PrimFunc | None:
    """The scheduled kernel; None where the function is none of this kind.

    It is one if it writes or reads bytes, and computes each element from elements at the same
    place along the last axes.
    """
    if not {str(buffer.dtype) for buffer in function.params} & set(_BYTES):
        return None
    if any(prod(map(_number, buffer.shape)) >= _MOST_ELEMENTS for buffer in function.params):
        return None
    block = _only_block(function)
    if block is None:
        return None
    variables = [variable.var for variable in block.iter_vars]
    extents = [_number(variable.dom.extent) for variable in block.iter_vars]
    shared = _shared_axes(block, variables, extents)
    inner = prod(extents[len(extents) - shared :])
    if shared == 0 or 0 in extents or inner < lanes:
        return None
    return _emit(function, _Loops(block.body, variables, extents, shared, lanes))


def _only_block(function: PrimFunc) -> SBlock | None:
    """What is left when everything but one block is inlined, if that is one simple store."""
    schedule = Schedule(IRModule({"main": function}), error_render_level="none")
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        try:
            schedule.compute_inline(block)
        except Exception:  # noqa: BLE001 - TVM's one way to say that it does not apply
            continue
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    if len(blocks) != 1:
        return None
    block = schedule.get(blocks[0])
    simple = isinstance(block.body, BufferStore) and block.init is None
    spatial = all(int(variable.iter_type) == _SPATIAL for variable in block.iter_vars)
    return block if simple and spatial else None


def _shared_axes(block: SBlock, variables: Sequence[Var], extents: Sequence[int]) -> int:
    """How many last axes every access has in their order, or has not at all."""
    store = block.body
    accesses = [(store.buffer, list(store.indices))]

    def note(load: TensorLoad) -> TensorLoad:
        accesses.append((load.source, list(load.indices)))
        return load

    tvm_ffi.structural_map(store.value, (TensorLoad, note))
    if not _same(accesses[0][1], variables):
        return 0
    for shared in range(len(variables), 0, -1):
        last = list(variables[-shared:])
        sizes = list(extents[-shared:])
        if all(_has(buffer, indices, last, sizes) for buffer, indices in accesses) and (
            _uses(store.value, last)
            == sum(_uses(i, last) for _, many in accesses[1:] for i in many)
        ):
            return shared
    return 0


def _has(buffer: Any, indices: Sequence[Any], last: Sequence[Var], sizes: Sequence[int]) -> bool:
    """Whether an access ends with the variables, over whole axes, or has none of them."""
    if not any(_uses(index, last) for index in indices):
        return True
    count = len(last)
    if len(indices) < count or any(_uses(index, last) for index in indices[:-count]):
        return False
    whole = [_number(extent) for extent in buffer.shape][-count:] == list(sizes)
    return whole and _same(indices[-count:], last)


def _same(indices: Sequence[Any], variables: Sequence[Var]) -> bool:
    return len(indices) == len(variables) and all(
        isinstance(index, Var) and index.same_as(variable)
        for index, variable in zip(indices, variables, strict=True)
    )


def _uses(expression: Any, variables: Sequence[Var]) -> int:
    """How often the variables occur in an expression."""
    found = 0

    def note(variable: Var) -> Var:
        nonlocal found
        found += any(variable.same_as(known) for known in variables)
        return variable

    tvm_ffi.structural_map(expression, (Var, note))
    return found


def _number(extent: Any) -> int:
    """A constant extent; 0 when it is none."""
    return int(extent.value) if isinstance(extent, IntImm) else 0


@dataclass(frozen=True)
class _Loops:
    """A store over axes of which the last ``shared`` are run through as one."""

    store: BufferStore
    variables: Sequence[Var]
    extents: Sequence[int]
    shared: int
    lanes: int

    @property
    def outer(self) -> int:
        """Axes that are not run through as one."""
        return len(self.extents) - self.shared


def _emit(function: PrimFunc, loops: _Loops) -> PrimFunc:
    """The function with the store's loops; its parameters and attributes are kept."""
    inner = prod(loops.extents[loops.outer :])
    runs = -(-inner // loops.lanes)
    lines = prod(loops.extents[: loops.outer])
    of_task = max(1, min(runs, _TASK // loops.lanes))
    tasks = -(-runs // of_task)
    with IRBuilder() as builder:
        with tir.prim_func(s_tir=True):
            tir.func_name("elementwise")
            given = [
                tir.arg(old.name, tir.buffer(list(old.shape), old.dtype)) for old in function.params
            ]
            with root():
                views = list(zip(function.params, map(flat, given), strict=True))
                with loop(lines * tasks, shared=lines * inner > SHARED) as task:
                    line = tir.int32(0) if lines == 1 else tir.bind(tir.floordiv(task, tasks))
                    first = tir.bind(cover(tir.floormod(task, tasks), of_task, runs))
                    with loop(of_task) as run:
                        begin = tir.bind(cover(first + run, loops.lanes, inner))
                        with tir.vectorized(0, loops.lanes) as lane:
                            _store(loops, views, line, begin + lane, inner)
        made = builder.get()
    return made.without_attr("global_symbol").with_attrs(dict(function.attrs))


def _store(loops: _Loops, views: Views, line: Any, place: Any, inner: int) -> None:
    """One element: the store with its accesses to flat views."""
    values, rest = [], line
    for extent in reversed(loops.extents[: loops.outer]):
        values.append(tir.floormod(rest, extent))
        rest = tir.floordiv(rest, extent)
    values.reverse()

    def read(load: TensorLoad) -> Any:
        return _view(load.source, views)[_flat(load, loops, place, inner)]

    def outer(variable: Var) -> Any:
        for known, value in zip(loops.variables, values, strict=False):
            if variable.same_as(known):
                return tir.Cast(variable.ty.dtype, value)
        return variable

    store = loops.store
    flattened = tvm_ffi.structural_map(store.value, (TensorLoad, read))
    value = tvm_ffi.structural_map(flattened, (Var, outer))
    tir.buffer_store(_view(store.buffer, views), value, [line * inner + place])


def _view(buffer: Any, views: Views) -> Any:
    return next(view for old, view in views if old.same_as(buffer))


def _flat(load: TensorLoad, loops: _Loops, place: Any, inner: int) -> Any:
    """The index of an access in a flat view; axes that are not run through keep their variables."""
    last = loops.variables[loops.outer :]
    indices, extents = list(load.indices), [_number(extent) for extent in load.source.shape]
    ends = bool(indices) and any(_uses(index, last) for index in indices[-1:])
    kept = len(indices) - (loops.shared if ends else 0)
    index = tir.int32(0)
    for axis in range(kept):
        index = index * extents[axis] + tir.Cast("int32", indices[axis])
    return index * inner + place if ends else index
