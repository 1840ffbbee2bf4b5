"""Operators that move numbers and change none."""

from __future__ import annotations

from collections.abc import Sequence

from edgeweave.targets.npu_ethos_u.emit.arithmetic import aligned
from edgeweave.targets.npu_ethos_u.emit.emission import Emission, Placed
from edgeweave.targets.npu_ethos_u.emit.layout import inverse
from edgeweave.targets.npu_ethos_u.emit.quantized import Constant, Operator, Value
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

_REFLECT = 0  # TFLite's own number


def emit_reshape(emission: Emission, operator: Operator) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same numbers in ONNX's order."""
    emission.settle(operator, emission.read(operator.value(0), operator))


def emit_transpose(emission: Emission, operator: Operator) -> None:
    """Transpose writes nothing: the value lies in the same tensor in another layout."""
    x = emission.read(operator.value(0), operator)
    rank = len(x.shape)
    order = tuple(operator.attributes.get("perm") or range(rank)[::-1])
    layout = tuple(inverse(order)[axis] for axis in x.layout)
    emission.settle(operator, Placed(x.tensor, operator.output.shape, layout, x.quantisation))


def emit_concat(emission: Emission, operator: Operator) -> None:
    """Concat as CONCATENATION, for which each part is brought to the result's scale."""
    output = operator.output
    values = [operand for operand in operator.inputs if isinstance(operand, Value)]
    if not values:
        raise Refused("ethos-u.quantised", f"{operator} reads constants only")
    layout = emission.values[values[0].name].layout
    parts = []
    for operand in operator.inputs:
        if isinstance(operand, Constant):
            operand = operand.requantised(output.quantisation)
        part = aligned(emission, operator, operand, layout)
        parts.append(emission.requantised(part, output.quantisation))
    there = emission.result(operator, layout)
    emission.joined(parts, operator.attributes["axis"] % len(layout), there)
    emission.settle(operator, there)


def emit_split(emission: Emission, operator: Operator) -> None:
    """One result of Split as SLICE."""
    x = emission.read(operator.value(0), operator)
    axis = operator.attributes.get("axis", 0) % len(x.shape)
    sizes = operator.attributes.get("split") or operator.integers(1)
    # in equal parts, of which the last may be smaller
    count = operator.attributes.get("num_outputs")
    width = -(-x.shape[axis] // count) if count else operator.output.shape[axis]
    begin = sum(sizes[: operator.part]) if sizes else operator.part * width
    begins = [0] * len(x.shape)
    begins[axis] = begin
    emission.settle(operator, emission.sliced(x, begins, operator.output.shape))


def emit_slice(emission: Emission, operator: Operator) -> None:
    """Slice as SLICE, or STRIDED_SLICE where it leaves out places."""
    x = emission.read(operator.value(0), operator)
    rank = len(x.shape)
    begins, steps = [0] * rank, [1] * rank
    starts, axes, strides = (operator.integers(place) for place in (1, 3, 4))
    for place, start in enumerate(starts or ()):
        axis = (axes[place] if axes else place) % rank
        begins[axis] = min(max(start + x.shape[axis] if start < 0 else start, 0), x.shape[axis])
        steps[axis] = strides[place] if strides else 1
    if min(steps) < 1:
        raise Refused("ethos-u.slice", f"{operator} has negative steps")
    # what is before the first place and after the last is cut off in a step of its own: Vela takes
    # none that cuts channels and leaves out places at once
    shape = operator.output.shape
    steps = [step if size > 1 else 1 for step, size in zip(steps, shape, strict=True)]
    spans = tuple((size - 1) * step + 1 for size, step in zip(shape, steps, strict=True))
    x = emission.sliced(x, begins, spans)
    if max(steps) > 1:
        x = _strided(emission, x, steps, shape)
    emission.settle(operator, x)


def _strided(emission: Emission, x: Placed, steps: Sequence[int], shape: tuple[int, ...]) -> Placed:
    if steps[x.layout[-1]] > 1:  # Vela leaves out places of height and width only
        *whole, last = [axis for axis in x.layout if steps[axis] == 1] or [x.layout[0]]
        stepped = [axis for axis in x.layout if steps[axis] > 1 and axis != last]
        x = emission.transposed(x, (*whole, *stepped, last))
    there = emission.tensor("strided", shape, x.layout, x.quantisation)
    inputs = [x.tensor]
    for name, numbers in (("begin", [0] * len(shape)), ("end", x.shape), ("strides", steps)):
        inputs.append(emission.integers(name, [numbers[axis] for axis in x.layout]))
    emission.operator("STRIDED_SLICE", inputs, there.tensor, 2, "StridedSliceOptions")
    return there


def emit_pad(emission: Emission, operator: Operator) -> None:
    """Pad as PAD or PADV2 at the result's scale, which holds the fill; reflected as MIRROR_PAD."""
    x = emission.read(operator.value(0), operator)
    rank = len(x.shape)
    pads = operator.attributes.get("pads") or operator.integers(1)
    axes = operator.integers(3) or list(range(rank))
    if pads is None or min(pads) < 0:
        raise Refused("ethos-u.pad", f"{operator} crops, or its pads are not constant")
    around = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        around[axis % rank] = (pads[place], pads[place + len(axes)])
    mode = operator.attributes.get("mode", "constant")
    if mode == "constant":
        fill = operator.plain(2)
        real = operator.attributes.get("value", 0.0) if fill is None else fill.reshape(-1)[0]
        x = emission.requantised(x, operator.output.quantisation)
        number = operator.output.quantisation.number(float(real))
        emission.settle(operator, emission.padded(x, around, number))
    elif mode == "reflect":
        there = emission.tensor("mirrored", operator.output.shape, x.layout, x.quantisation)
        inputs = [x.tensor, emission.integers("pads", [around[a] for a in x.layout])]
        fields = {"mode": _REFLECT}
        emission.operator("MIRROR_PAD", inputs, there.tensor, 2, "MirrorPadOptions", fields)
        emission.settle(operator, there)
    else:
        raise Refused("ethos-u.pad", f"{operator} pads by the mode {mode!r}")


def emit_expand(emission: Emission, operator: Operator) -> None:
    """Expand as TILE."""
    shape = operator.output.shape
    x = emission.read(operator.value(0), operator)
    x = emission.reshaped(x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    there = emission.tensor("tiled", shape, x.layout, x.quantisation)
    times = [size // old for size, old in zip(there.lies, x.lies, strict=True)]
    if max(times) > 1:
        inputs = [x.tensor, emission.integers("multiples", times)]
        emission.operator("TILE", inputs, there.tensor, 2)
        x = there
    emission.settle(operator, x)
