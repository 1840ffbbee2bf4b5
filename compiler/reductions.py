"""Where reductions start: TVM begins a maximum at the lowest finite number, and then misses -inf.

A row that a mask has set to minus infinity as a whole then has the wrong largest value, and ArgMax
names no element where none exceeds the start: element -1, which code after it reads.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import IRModule, tirx
from tvm.s_tir import SBlock
from tvm.tirx import BufferStore, FloatImm, IntImm, PrimFunc, SeqStmt

# The largest finite number of each type; TVM starts a minimum there, a maximum at its negative.
_LARGEST = {
    "float16": 65504.0,
    "float32": float.fromhex("0x1.fffffep+127"),
    "float64": float.fromhex("0x1.fffffffffffffp+1023"),
}


def start_beyond_all(module: IRModule) -> IRModule:
    """Start every maximum and minimum at an infinity, and every ArgMax and ArgMin past the end.

    Max pooling counts; its padding stays the lowest finite number, in an operand of the kernel.
    """
    functions = {
        name: tvm_ffi.structural_map(function, (SBlock, _start_block))
        if isinstance(function, PrimFunc)
        else function
        for name, function in module.functions.items()
    }
    return IRModule(functions, attrs=module.attrs)


def _start_block(block: SBlock) -> SBlock:
    init = block.init
    if init is None:
        return block
    stores = list(init.seq) if isinstance(init, SeqStmt) else [init]
    if not all(isinstance(store, BufferStore) for store in stores):
        return block
    values = [store.value for store in stores]
    started = [_beyond(value) for value in values]
    if _finds_a_place(values):
        # of equal elements the first wins, so a place past the end loses to every element
        started[0] = tirx.max_value(values[0].ty.dtype)
    if all(new.same_as(old) for new, old in zip(started, values, strict=True)):
        return block
    changed = [
        BufferStore(store.buffer, value, store.indices)
        for store, value in zip(stores, started, strict=True)
    ]
    return SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        block.body,
        changed[0] if len(changed) == 1 else SeqStmt(changed),
        block.alloc_buffers,
        block.match_buffers,
        block.annotations,
        block.span,
    )


def _beyond(value: Any) -> Any:
    """The infinity behind the outermost finite number of a type; any other value as it is."""
    if isinstance(value, FloatImm) and abs(value.value) == _LARGEST.get(str(value.ty.dtype)):
        infinity = tirx.infinity(value.ty.dtype)
        return infinity if value.value > 0 else -infinity
    return value


def _finds_a_place(values: list[Any]) -> bool:
    """Whether a reduction keeps the place of its result first, beginning at -1, and its value."""
    return len(values) == 2 and isinstance(values[0], IntImm) and values[0].value == -1
