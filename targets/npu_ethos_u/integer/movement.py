"""Operators that move integers and change none: what they join has one quantisation."""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

import numpy as np

from edgeweave.targets.npu_ethos_u.integer.call import Call
from edgeweave.targets.npu_ethos_u.integer.model import Array


def concatenate(call: Call) -> list[Array]:
    """CONCATENATION along an axis; the inputs have the scale and zero point of the output."""
    out = call.output
    for index in range(len(call.inputs)):
        tensor = call.tensor(index)
        if (tensor.scale, tensor.zero_point) != (out.scale, out.zero_point):
            raise call.refused(f"{tensor.name} has another quantisation than the output")
    values = [call.value(index) for index in range(len(call.inputs))]
    return [np.concatenate(values, axis=call.options["axis"])]


def split(call: Call) -> list[Array]:
    """SPLIT: axis, value; into equal parts."""
    return np.split(call.value(1), call.options["numSplits"], axis=call.integers(0)[0])


def split_sizes(call: Call) -> list[Array]:
    """SPLIT_V: value, sizes, axis; at most one size is -1, for what the others leave."""
    value, sizes = call.value(0), call.integers(1)
    axis = call.integers(2)[0]
    rest = value.shape[axis] - sum(size for size in sizes if size >= 0)
    ends = list(accumulate(rest if size < 0 else size for size in sizes))
    return np.split(value, ends[:-1], axis=axis)


def slice_box(call: Call) -> list[Array]:
    """SLICE: value, begin, size; a size of -1 is up to the end."""
    value = call.value(0)
    box = tuple(
        slice(begin, None if size < 0 else begin + size)
        for begin, size in zip(call.integers(1), call.integers(2), strict=True)
    )
    return [value[box]]


def slice_strided(call: Call) -> list[Array]:
    """STRIDED_SLICE: value, begin, end, strides; bit k of a mask says it of axis k."""
    value, options = call.value(0), call.options
    for mask in ("ellipsisMask", "newAxisMask", "offset"):
        if options[mask]:
            raise call.refused(f"its {mask} is not known here")
    box: list[slice | int] = []
    bounds = zip(*(call.integers(index) for index in (1, 2, 3)), strict=True)
    for axis, (begin, end, stride) in enumerate(bounds):
        if options["shrinkAxisMask"] >> axis & 1:
            box.append(begin)
            continue
        first = None if options["beginMask"] >> axis & 1 else begin
        last = None if options["endMask"] >> axis & 1 else end
        box.append(slice(first, last, stride))
    return [value[tuple(box)]]


def pad(call: Call) -> list[Array]:
    """PAD with the zero point, or PADV2 with the integer that is its third input."""
    x = call.tensor(0)
    filler = int(call.value(2).reshape(())) if call.has(2) else x.zero_point
    return [np.pad(call.value(0), call.value(1), constant_values=filler)]


def mirror_pad(call: Call) -> list[Array]:
    """MIRROR_PAD: reflected (0) without, or symmetric (1) with the element at the edge."""
    mode: Literal["symmetric", "reflect"] = "symmetric" if call.options["mode"] else "reflect"
    return [np.pad(call.value(0), call.value(1), mode)]


def reshape(call: Call) -> list[Array]:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: to the shape that the output is declared with."""
    return [call.value(0).reshape(call.output.shape)]


def transpose(call: Call) -> list[Array]:
    """TRANSPOSE by a constant permutation."""
    return [np.ascontiguousarray(call.value(0).transpose(call.integers(1)))]


def tile(call: Call) -> list[Array]:
    """TILE: repeated along every axis as often as its second input says."""
    return [np.tile(call.value(0), call.integers(1))]


def pack(call: Call) -> list[Array]:
    """PACK: values of one shape along a new axis."""
    values = [call.value(index) for index in range(len(call.inputs))]
    return [np.stack(values, axis=call.options["axis"])]


def unpack(call: Call) -> list[Array]:
    """UNPACK: the parts along an axis that then is gone."""
    return list(np.moveaxis(call.value(0), call.options["axis"], 0))
