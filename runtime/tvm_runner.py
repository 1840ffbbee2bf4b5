"""Runs a stage that TVM built: a Relax VM library and the file with its weights."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm.runtime.vm import VirtualMachine

from edgeweave.runtime.cpu_features import lacking_features
from edgeweave.runtime.dtypes import named_dtype
from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import Value, first_line

LIBRARY_NAME = "stage.so"
ALIGNMENT = 64  # bytes; generated code uses aligned vector loads, and crashes without it
# config_threadpool's modes: each thread on a core of its own, or all threads on all cores
_ONE_CORE_PER_THREAD, _SHARED_CORES = -2, -3


def open_runner(stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> TvmRunner:
    """Open ``stage.so`` with one thread per core of the stage, or one when it is not pinned."""
    _configure_threads(cores)
    return TvmRunner(stage, folder)


def _configure_threads(cores: tuple[int, ...]) -> None:
    """Set up this thread's pool, which TVM would otherwise pin to core 0 on its first run."""
    mode = _ONE_CORE_PER_THREAD if cores else _SHARED_CORES
    used = cores or tuple(sorted(os.sched_getaffinity(0)))
    configure = tvm.get_global_func("runtime.config_threadpool")
    configure(mode, max(1, len(cores)), [str(core) for core in used])


class TvmRunner:
    """One virtual machine of its own; two threads in one machine corrupt each other's values."""

    def __init__(self, stage: StageEntry, folder: Path) -> None:
        self._subject = f"stage {stage.name}"
        self._outputs = stage.outputs
        function, weights = _read_options(stage)
        _check_features(stage)
        try:
            library = tvm.runtime.load_module(str(folder / LIBRARY_NAME))
            self._machine = VirtualMachine(library, tvm.cpu())
            self._main = self._machine[function]
        except (RuntimeError, ValueError, AttributeError, OSError) as error:
            raise BundleError(
                self._subject,
                f"TVM {tvm.__version__} cannot open {LIBRARY_NAME} ({first_line(error)})",
                "Install the TVM that the bundle's manifest names, on the machine it names",
            ) from error
        self._weights = _load_weights(self._subject, folder, weights)

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Run once. Outputs are views of memory that TVM allocated for this call alone."""
        arguments = [to_tensor(value) for value in inputs]
        outputs = [_to_array(item) for item in _flatten(self._main(*arguments, *self._weights))]
        if len(outputs) != len(self._outputs):
            raise BundleError(
                self._subject,
                f"returned {len(outputs)} values, and the manifest names {len(self._outputs)}",
                "Pack the model again",
            )
        return outputs

    def close(self) -> None:
        """Free the machine and unmap the weights."""
        del self._main, self._machine, self._weights


def _check_features(stage: StageEntry) -> None:
    """Refuse code for another CPU before it is loaded: it would end this process."""
    lacking = lacking_features(stage.options.get("features", []))
    if lacking:
        raise BundleError(
            f"stage {stage.name}",
            f"is compiled for {stage.options.get('mcpu') or 'another CPU'} and uses "
            f"{', '.join(lacking)}, which the CPU of this machine lacks",
            "Run it on its board, or compile for a board whose mcpu and mattr are this CPU's",
        )


def _read_options(stage: StageEntry) -> tuple[str, list[dict[str, Any]]]:
    options = stage.options
    weights = options.get("weights", [])
    keys = {"name": str, "dtype": str, "shape": list, "offset": int, "nbytes": int}
    sound = isinstance(options.get("function"), str) and isinstance(weights, list)
    sound = sound and all(
        isinstance(weight, dict)
        and all(isinstance(weight.get(key), kind) for key, kind in keys.items())
        for weight in weights
    )
    features = options.get("features", [])
    sound = sound and isinstance(features, list) and all(isinstance(f, str) for f in features)
    if not sound or (weights and not isinstance(options.get("weights_file"), str)):
        raise BundleError(
            f"stage {stage.name}",
            "its options do not name a function, weights and their file, and CPU features",
            "Pack the model again",
        )
    return options["function"], [{**w, "file": options["weights_file"]} for w in weights]


def _load_weights(subject: str, folder: Path, weights: list[dict[str, Any]]) -> list[Any]:
    """Map the weights' file; its pages are shared between runners until one is written."""
    if not weights:
        return []
    path = folder / weights[0]["file"]
    size = path.stat().st_size
    buffer: Any = bytearray()
    if size:
        with path.open("rb") as file:
            # private and writable: DLPack takes no read-only memory, and the file stays as it is
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    tensors = []
    for weight in weights:
        dtype, shape = named_dtype(weight["dtype"]), tuple(weight["shape"])
        offset, count = weight["offset"], int(np.prod(shape, dtype=np.int64))
        nbytes = weight["nbytes"]
        if offset < 0 or nbytes != count * dtype.itemsize or offset + nbytes > size:
            raise BundleError(
                subject,
                f"weight {weight['name']!r} does not lie inside {path.name} of {size} bytes",
                "Pack the model again",
            )
        values = np.frombuffer(buffer, dtype, count, offset) if count else np.empty(0, dtype)
        tensors.append(to_tensor(values.reshape(shape)))
    return tensors


def to_tensor(value: Any) -> Any:
    """A TVM tensor of the array; shares its memory where alignment and dtype allow it."""
    array = np.asarray(value)
    # numpy gives empty arrays any address, and does not pass bfloat16 and its like through DLPack
    if array.size == 0 or array.dtype.kind == "V":
        tensor = tvm.runtime.empty(array.shape, array.dtype.name)
        return tensor.copyfrom(array) if array.size else tensor
    aligned = array.ctypes.data % ALIGNMENT == 0
    if not (aligned and array.flags.c_contiguous and array.flags.writeable):
        array = _aligned_copy(array)
    return tvm_ffi.from_dlpack(array, require_alignment=ALIGNMENT, require_contiguous=True)


def _aligned_copy(array: Any) -> Any:
    buffer = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _flatten(result: Any) -> Iterator[Any]:
    """The leaves of a tensor, a shape, or nested tuples of them, in order."""
    if isinstance(result, (tvm_ffi.Array, tuple, list)) and not isinstance(result, tvm_ffi.Shape):
        for item in result:
            yield from _flatten(item)
    else:
        yield result


def _to_array(item: Any) -> Any:
    if isinstance(item, tvm_ffi.Shape):
        return np.array(tuple(item), np.int64)
    if isinstance(item, (bool, int, float)):  # a PrimValue
        return np.array(item)
    name = str(item.dtype)
    if named_dtype(name).kind == "V":
        return item.numpy()
    return np.from_dlpack(item)
