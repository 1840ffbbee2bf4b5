"""Runs a quantised stage of an NPU with LiteRT's reference kernels, whose results are the NPU's.

A figure of time from here says nothing about the NPU: the word for such a run is ``reference``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeweave.runtime.errors import BundleError, RuntimeFault
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import Value, first_line
from edgeweave.runtime.spec import ValueSpec

Permutation = tuple[int, ...]


@dataclass(frozen=True)
class _Border:
    """A tensor of the model: its number, dtype, and how its axes lie to those of the value.

    ``permutation`` turns an input's value into the tensor, and an output's tensor into the value;
    empty: they are the same. ``place`` is where the value stands among the stage's.
    """

    tensor: int
    dtype: np.dtype[Any]
    permutation: Permutation
    place: int


def open_runner(stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> LiteRtRunner:
    """Open the stage's TFLite model, in one thread whatever the cores.

    Raises BundleError when options, model and manifest do not fit together, and RuntimeFault when
    LiteRT is missing or cannot open the model.
    """
    options = stage.options
    model = options.get("model")
    if model not in stage.files:
        raise _damaged(stage, f"options name the model {model!r}, and it is none of its files")
    interpreter = _open(folder / model)
    found = interpreter.get_input_details(), interpreter.get_output_details()
    inputs = _borders(stage, "inputs", stage.inputs, found[0])
    outputs = _borders(stage, "outputs", stage.outputs, found[1])
    return LiteRtRunner(interpreter, inputs, outputs)


class LiteRtRunner:
    """An opened TFLite model; values have ONNX's order of axes, tensors TFLite's."""

    def __init__(
        self, interpreter: Any, inputs: Sequence[_Border], outputs: Sequence[_Border]
    ) -> None:
        self._interpreter = interpreter
        self._inputs, self._outputs = inputs, outputs

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Run once: values in the order of the stage's inputs, and of its outputs."""
        for border in self._inputs:
            value = np.asarray(inputs[border.place])  # LiteRT refuses any other dtype and shape
            tensor = np.ascontiguousarray(_permuted(value, border.permutation))
            self._interpreter.set_tensor(border.tensor, tensor)
        self._interpreter.invoke()
        results: list[Value] = [None] * len(self._outputs)
        for border in self._outputs:
            tensor = self._interpreter.get_tensor(border.tensor)  # a copy
            results[border.place] = np.ascontiguousarray(_permuted(tensor, border.permutation))
        return results

    def close(self) -> None:
        """Free the model and its memory."""
        del self._interpreter


def _open(path: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise RuntimeFault(
            path.name,
            f"LiteRT, which runs it here, cannot be imported ({first_line(error)})",
            "Install it: pip install 'edgeweave[ethos-u]'",
        ) from error
    try:
        interpreter = Interpreter(
            model_content=path.read_bytes(),
            # other kernels round otherwise than the NPU
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            num_threads=1,
        )
        interpreter.allocate_tensors()
    except OSError as error:
        raise BundleError(path.name, f"cannot be read ({error.strerror})") from error
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            path.name, f"LiteRT cannot open it ({first_line(error)})", "Pack the model again"
        ) from error
    return interpreter


def _borders(
    stage: StageEntry,
    role: str,
    specs: Sequence[ValueSpec],
    tensors: Sequence[Mapping[str, Any]],
) -> tuple[_Border, ...]:
    """The model's tensors of one side, in the model's order, matched with the stage's values."""
    named = _named(stage, role)
    places = {spec.name: place for place, spec in enumerate(specs)}
    if sorted(places) != sorted(name for name, _ in named) or len(named) != len(tensors):
        raise _damaged(
            stage,
            f"options name the {role} {[name for name, _ in named]}, its model has {len(tensors)}, "
            f"and the manifest names {list(places)}",
        )
    borders = []
    for (name, permutation), tensor in zip(named, tensors, strict=True):
        spec = specs[places[name]]
        border = _Border(tensor["index"], np.dtype(tensor["dtype"]), permutation, places[name])
        _check(stage, role, spec, border, tuple(int(size) for size in tensor["shape"]))
        borders.append(border)
    return tuple(borders)


def _check(
    stage: StageEntry, role: str, spec: ValueSpec, border: _Border, shape: tuple[int, ...]
) -> None:
    """The tensor has the value's dtype, and its shape in the tensor's order of axes."""
    wanted = spec.shape or ()
    order = border.permutation or tuple(range(len(shape)))
    if sorted(order) == list(range(len(shape))) == list(range(len(wanted))):
        # inputs: tensor from value; outputs: value from tensor
        turned = (
            tuple(wanted[axis] for axis in order) == shape
            if role == "inputs"
            else tuple(shape[axis] for axis in order) == wanted
        )
        if turned and border.dtype.name == spec.dtype:
            return
    raise _damaged(
        stage,
        f"{spec.name!r} is {spec.dtype}{list(wanted)} in the manifest, and {border.dtype.name}"
        f"{list(shape)} with the axes {list(order)} in its model",
    )


def _named(stage: StageEntry, role: str) -> list[tuple[str, Permutation]]:
    """The options' ``[[name, [axis, …]], …]`` of one side."""
    try:
        return [
            (str(name), tuple(int(axis) for axis in axes)) for name, axes in stage.options[role]
        ]
    except (KeyError, TypeError, ValueError):
        raise _damaged(stage, f"options name no {role}") from None


def _damaged(stage: StageEntry, reason: str) -> BundleError:
    return BundleError(f"stage {stage.name}", reason, "Pack the model again")


def _permuted(array: NDArray[Any], permutation: Permutation) -> NDArray[Any]:
    return array.transpose(permutation) if permutation else array
