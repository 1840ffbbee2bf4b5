"""Fixing the shapes of a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from edgeweave.compiler.errors import ModelError

Shape = tuple[int, ...]


def fix_shapes(proto: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Give every tensor input of ``proto`` a static shape, in place; True when one changed.

    ``shapes`` maps input names to shapes. A named dimension fixed in one input is fixed wherever
    that name stands. Raises ``ModelError`` for a dimension left open and for a shape that does not
    fit.
    """
    inputs = {info.name: info for info in proto.graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            known = ", ".join(inputs) or "none"
            raise ModelError(f"--shape {name}", "the model has no such input", f"Inputs: {known}")
        _check(inputs[name], shape)
    symbols = _symbols(inputs, shapes)
    changed = False
    for info in proto.graph.input:
        if info.type.HasField("tensor_type"):
            changed |= _apply(info, shapes.get(info.name), symbols)
    if changed:
        # What the file says about other values may name dimensions that are known now.
        del proto.graph.value_info[:]
        for info in proto.graph.output:
            _substitute(info, symbols)
    return changed


def _check(info: onnx.ValueInfoProto, shape: Shape) -> None:
    subject = f"--shape {info.name}={_written(shape)}"
    if not info.type.HasField("tensor_type"):
        raise ModelError(subject, "this input is no tensor, so it has no shape")
    declared = info.type.tensor_type.shape.dim
    sizes = [d.dim_value if _is_fixed(d) else None for d in declared]
    if any(size <= 0 and size not in sizes[i : i + 1] for i, size in enumerate(shape)):
        raise ModelError(subject, "every dimension must be positive")
    if not info.type.tensor_type.HasField("shape"):
        return
    if len(declared) != len(shape):
        raise ModelError(
            subject,
            f"the input has {len(declared)} dimensions, the option gives {len(shape)}",
            f"Declared: {_declared(info)}",
        )
    for position, (fixed, size) in enumerate(zip(sizes, shape, strict=True)):
        if fixed is not None and fixed != size:
            raise ModelError(
                subject,
                f"dimension {position} is {fixed} in the model and {size} in the option",
                f"Declared: {_declared(info)}",
            )


def _symbols(
    inputs: Mapping[str, onnx.ValueInfoProto], shapes: Mapping[str, Shape]
) -> dict[str, int]:
    """The size of every dimension name that the given shapes fix."""
    symbols: dict[str, tuple[int, str]] = {}
    for name, shape in shapes.items():
        for dim, size in zip(inputs[name].type.tensor_type.shape.dim, shape, strict=False):
            if not dim.dim_param:
                continue
            known, where = symbols.setdefault(dim.dim_param, (size, name))
            if known != size:
                raise ModelError(
                    f"--shape {name}={_written(shape)}",
                    f"dimension {dim.dim_param!r} is {size} here and {known} in input {where!r}",
                    "A named dimension has one size",
                )
    return {symbol: size for symbol, (size, _) in symbols.items()}


def _apply(info: onnx.ValueInfoProto, shape: Shape | None, symbols: Mapping[str, int]) -> bool:
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        if shape is None:
            raise ModelError(
                f"input {info.name!r}",
                "its number of dimensions is not fixed",
                f"Fix it with --shape {info.name}=..., for example --shape {info.name}=1,3,224,224",
            )
        tensor.shape.CopyFrom(onnx.TensorShapeProto())
        for size in shape:
            tensor.shape.dim.add().dim_value = size
        return True
    was_open = not all(_is_fixed(dim) for dim in tensor.shape.dim)
    for position, dim in enumerate(tensor.shape.dim):
        if shape is not None:
            dim.dim_value = shape[position]
        elif dim.dim_param in symbols:
            dim.dim_value = symbols[dim.dim_param]
    for position, dim in enumerate(tensor.shape.dim):
        if not _is_fixed(dim):
            raise _open(info, position)
    return was_open


def _open(info: onnx.ValueInfoProto, position: int) -> ModelError:
    dim = info.type.tensor_type.shape.dim[position]
    label = f"dimension {position}" + (f" ({dim.dim_param!r})" if dim.dim_param else "")
    proposed = [str(d.dim_value) if _is_fixed(d) else "1" for d in info.type.tensor_type.shape.dim]
    return ModelError(
        f"input {info.name!r}",
        f"{label} is not fixed; declared: {_declared(info)}",
        f"Fix it with --shape {info.name}={','.join(proposed)} (1 stands for your size)",
    )


def _substitute(info: onnx.ValueInfoProto, symbols: Mapping[str, int]) -> None:
    if not info.type.HasField("tensor_type"):
        return
    for dim in info.type.tensor_type.shape.dim:
        if dim.dim_param in symbols:
            dim.dim_value = symbols[dim.dim_param]


def _is_fixed(dim: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether the dimension has a size; some exporters write an open one as -1."""
    return dim.HasField("dim_value") and dim.dim_value >= 0


def _written(shape: Shape) -> str:
    return ",".join(str(size) for size in shape)


def _declared(info: onnx.ValueInfoProto) -> str:
    dims = info.type.tensor_type.shape.dim
    return ",".join(str(d.dim_value) if _is_fixed(d) else d.dim_param or "?" for d in dims)
