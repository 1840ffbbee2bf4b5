"""What an int8 TFLite model computes, operator by operator, in integers.

An expectation of our own that neither LiteRT nor Vela has a part in: it equals LiteRT's reference
kernels bit for bit, and is written from TFLite's quantisation specification, gemmlowp's fixed point
and the definitions in TFLite's reference kernels (``tensorflow/lite/kernels/internal/reference``).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.call import Call
from edgeweave.targets.npu_ethos_u.integer.model import Array, Model, Operator, read_model
from edgeweave.targets.npu_ethos_u.integer.operators import KERNELS


def evaluate(blob: bytes, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of a TFLite model for inputs in the model's order, layouts and types.

    Values are dropped after their last reader. Raises TargetError for bytes that are no model, an
    operator that is not known here, an input that does not fit, and sums that leave 32 bits.
    """
    model = read_model(blob)
    values: dict[int, Array] = {
        index: tensor.data for index, tensor in enumerate(model.tensors) if tensor.data is not None
    }
    values.update(zip(model.inputs, _checked(model, inputs), strict=True))
    last = {index: at for at, op in enumerate(model.operators) for index in op.inputs}
    for at, operator in enumerate(model.operators):
        call = _make_call(model, operator, values)
        written = KERNELS[operator.name](call)
        for index, tensor, value in zip(operator.outputs, call.outputs, written, strict=True):
            if value.shape != tensor.shape or value.dtype != tensor.dtype:
                reason = f"it makes {value.dtype}{list(value.shape)}"
                raise call.refused(f"{reason} where {tensor.dtype}{list(tensor.shape)} is declared")
            values[index] = value
        for index in operator.inputs:
            if last[index] == at and index not in model.outputs:
                values.pop(index, None)
    return [values[index] for index in model.outputs]


def _checked(model: Model, inputs: Sequence[Array]) -> Sequence[Array]:
    """The inputs, if they are what the model declares."""
    if len(inputs) != len(model.inputs):
        reason = f"it has {len(model.inputs)} inputs and was given {len(inputs)}"
        raise TargetError("TFLite model", reason)
    for index, value in zip(model.inputs, inputs, strict=True):
        tensor = model.tensors[index]
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise TargetError(
                f"input {tensor.name}",
                f"it is {value.dtype}{list(value.shape)} where {tensor.dtype}{list(tensor.shape)} "
                "is declared",
            )
    return inputs


def _make_call(model: Model, operator: Operator, values: dict[int, Array]) -> Call:
    outputs = tuple(model.tensors[index] for index in operator.outputs)
    if operator.name not in KERNELS:
        raise TargetError(
            f"operator {operator.name} (writes {outputs[0].name})",
            "it has no definition in integers here",
            "Compare this model with LiteRT's reference kernels alone.",
        )
    given = [index if index >= 0 else None for index in operator.inputs]
    return Call(
        operator.name,
        operator.options,
        tuple(None if index is None else model.tensors[index] for index in given),
        tuple(None if index is None else values[index] for index in given),
        outputs,
    )
