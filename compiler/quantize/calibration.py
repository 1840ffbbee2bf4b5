"""Calibration frames: typical inputs of a model, read from a folder."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.images import IMAGES, ImageReader
from edgeweave.compiler.quantize.settings import Preprocessing
from edgeweave.runtime.spec import ValueSpec

_ACCEPTED = (".npy", ".npz", *sorted(IMAGES))

Frame = dict[str, np.ndarray]


@dataclass(frozen=True)
class Calibration:
    """The frames, the file that each came from, and whether the limit left files out."""

    frames: tuple[Frame, ...]
    sources: tuple[str, ...]
    is_cut: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The files that were read, each once."""
        return tuple(dict.fromkeys(self.sources))


def read_calibration(
    folder: Path, inputs: Sequence[ValueSpec], preprocessing: Preprocessing, limit: int = 200
) -> Calibration:
    """Frames from the ``.npy``, ``.npz`` and image files of a folder, in the order of their names.

    A ``.npy`` holds the one input of the model, its batch axis left out or as long as many frames;
    a ``.npz`` one frame by input names; images are prepared as ``preprocessing`` says. Other files
    are ignored, and at most ``limit`` frames are read. Raises QuantizeError naming the file.
    """
    files = _files(folder)
    frames: list[Frame] = []
    sources: list[str] = []
    reader: ImageReader | None = None
    for path in files:
        if path.suffix.lower() in IMAGES:
            reader = reader or ImageReader(str(path), inputs, preprocessing)
            found = [{inputs[0].name: reader.read(path)}]
        else:
            found = list(_arrays(path, inputs))
        frames += found[: limit - len(frames)]
        sources += [path.name] * (len(frames) - len(sources))
        if len(frames) == limit:
            break
    return Calibration(tuple(frames), tuple(sources), len(set(sources)) < len(files))


def _files(folder: Path) -> list[Path]:
    step = "Give a folder of typical inputs with --calibration"
    if not folder.is_dir():
        fault = "is no folder" if folder.exists() else "does not exist"
        raise QuantizeError(str(folder), fault, step)
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise QuantizeError(str(folder), f"cannot be read: {error.strerror}", step) from None
    files = [path for path in found if path.suffix.lower() in _ACCEPTED]
    if not files:
        raise QuantizeError(
            str(folder), f"holds no calibration frame: no {', '.join(_ACCEPTED)} file", step
        )
    return files


def _arrays(path: Path, inputs: Sequence[ValueSpec]) -> Iterator[Frame]:
    loaded = _load(path)
    if isinstance(loaded, dict):
        yield _by_name(path, loaded, inputs)
        return
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise QuantizeError(
            str(path),
            f"holds one array, and the model has {len(inputs)} inputs",
            f"Save a .npz with the arrays {names}",
        )
    spec = inputs[0]
    for array in _batches(path, loaded, spec):
        yield {spec.name: _checked(path, array, spec)}


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """One array of a .npy, or those of a .npz by name; names of files may lie."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except OSError as error:
        reason = error.strerror or str(error)
        raise QuantizeError(str(path), f"cannot be read: {reason}", "Replace the file") from None
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise QuantizeError(
            str(path),
            f"is no file that numpy saved: {' '.join(str(error).split())}",
            "Write it with numpy.save or numpy.savez",
        ) from None


def _by_name(path: Path, arrays: dict[str, np.ndarray], inputs: Sequence[ValueSpec]) -> Frame:
    names = [spec.name for spec in inputs]
    unknown = [name for name in arrays if name not in names]
    missing = [name for name in names if name not in arrays]
    if missing or unknown:
        fault = f"lacks input {missing[0]!r}" if missing else f"holds {unknown[0]!r}, no input"
        raise QuantizeError(str(path), fault, f"Inputs of the model: {', '.join(names)}")
    frame = {}
    for spec in inputs:
        found = list(_batches(path, arrays[spec.name], spec))
        if len(found) != 1:
            raise _wrong_shape(path, arrays[spec.name], spec)
        frame[spec.name] = _checked(path, found[0], spec)
    return frame


def _batches(path: Path, array: np.ndarray, spec: ValueSpec) -> Iterator[np.ndarray]:
    """The array in pieces of the input's shape."""
    wanted = spec.shape
    if wanted is None or _fits(array.shape, wanted):
        yield array
    elif wanted and wanted[0] == 1 and _fits(array.shape, wanted[1:]):
        yield array[None]
    elif (
        wanted
        and wanted[0]
        and _fits(array.shape[1:], wanted[1:])
        and array.shape[0]
        and array.shape[0] % wanted[0] == 0
    ):
        yield from np.split(array, array.shape[0] // wanted[0])
    else:
        raise _wrong_shape(path, array, spec)


def _fits(shape: tuple[int, ...], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        open_or_size in (None, size) for size, open_or_size in zip(shape, wanted, strict=True)
    )


def _wrong_shape(path: Path, array: np.ndarray, spec: ValueSpec) -> QuantizeError:
    return QuantizeError(
        str(path),
        f"has shape {list(array.shape)}, and input {spec.name!r} has {list(spec.shape or ())}",
        "Save frames of the input's shape",
    )


def _checked(path: Path, array: np.ndarray, spec: ValueSpec) -> np.ndarray:
    if array.dtype.name != spec.dtype:
        raise QuantizeError(
            str(path),
            f"holds {array.dtype.name}, and input {spec.name!r} is {spec.dtype}",
            f"Save it as {spec.dtype}, prepared as the model wants it",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise QuantizeError(str(path), "holds a NaN or an infinity", "Replace or remove the frame")
    return np.ascontiguousarray(array)
