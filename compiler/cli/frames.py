"""The frames that `run` feeds: the user's own, or random ones."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgeweave.runtime.spec import ValueSpec

DISTINCT = 4  # random frames that are cycled


def random_frames(specs: Sequence[ValueSpec], count: int, seed: int) -> list[dict[str, Any]]:
    """A few distinct random frames, floats uniform in [0, 1); a usage error for strange types."""
    from edgeweave.compiler.sampling import random_inputs

    try:
        return [random_inputs(specs, seed + i, "unit") for i in range(min(count, DISTINCT))]
    except ValueError as error:
        raise click.UsageError(f"{error}; give the inputs with --input") from error


def read_frame(inputs: Sequence[str]) -> dict[str, Any]:
    """One frame from ``name=file.npy`` and ``file.npz``; a usage error for a file that is neither.

    Names, dtypes and shapes are left to the pipeline's own check.
    """
    frame: dict[str, Any] = {}
    for given in inputs:
        name, separator, path = given.rpartition("=")
        found = {name: _array(given, path)} if separator else _arrays(given)
        twice = frame.keys() & found.keys()
        if twice:
            raise click.UsageError(f"--input {given}: {min(twice)!r} is given twice")
        frame |= found
    return frame


def _array(given: str, path: str) -> Any:
    loaded = _load(given, path)
    if isinstance(loaded, dict):
        raise click.UsageError(f"--input {given}: holds several arrays; write --input {path}")
    return loaded


def _arrays(given: str) -> dict[str, Any]:
    loaded = _load(given, given)
    if not isinstance(loaded, dict):
        raise click.UsageError(f"--input {given}: holds one array; write --input NAME={given}")
    return loaded


def _load(given: str, path: str) -> Any:
    """An array, or a dict of those of a ``.npz``."""
    import numpy as np

    try:
        with Path(path).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return dict(loaded) if hasattr(loaded, "files") else loaded
    except OSError as error:
        raise click.UsageError(
            f"--input {given}: {path} cannot be read: {error.strerror}"
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise click.UsageError(
            f"--input {given}: {path} is no array that numpy saved; write it with numpy.save"
        ) from error


def write_outputs(path: Path, outputs: dict[str, Any]) -> None:
    """Write tensors to a ``.npz`` by name; raises RuntimeFault for other values and on failure."""
    import numpy as np

    from edgeweave.runtime.errors import RuntimeFault

    others = [name for name, value in outputs.items() if not isinstance(value, np.ndarray)]
    if others:
        raise RuntimeFault(f"output {others[0]!r}", "is no tensor, and a .npz holds only tensors")
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **outputs)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RuntimeFault(
            str(path), f"cannot be written ({error.strerror})", "Name another file with --outputs"
        ) from error
