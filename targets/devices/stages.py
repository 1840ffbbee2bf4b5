"""The stages of a bundle on a device: opened there, fed, run and timed by the device itself."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.devices.faults import DeviceFailure, reported
from edgeweave.targets.devices.reply import MalformedReplyError, Part
from edgeweave.targets.devices.upload import File

if TYPE_CHECKING:
    import numpy as np

    from edgeweave.runtime.bundle import Bundle
    from edgeweave.runtime.manifest import Manifest, StageEntry
    from edgeweave.targets.devices.session import Session

OPEN = "edgeweave.device.open"
SET_INPUT = "edgeweave.device.set_input"
RUN = "edgeweave.device.run"
GET_OUTPUT = "edgeweave.device.get_output"
STATE = "edgeweave.device.state"
KIND = "tvm"  # the one kind of stage that a device runs
LIBRARY_NAME = "stage.so"

_OPEN_LIMIT_S = 120.0  # maps libraries and weights; slow under emulation
_BYTES_PER_S = 100e3  # the slowest link that is waited for
_SHORT_S = 30.0
_WEIGHT_KEYS = {"name": str, "dtype": str, "shape": list, "offset": int, "nbytes": int}


@dataclass(frozen=True)
class StageFiles:
    """SHA-256 of a stage's library and of its weights, None where it has none."""

    library: str
    weights: str | None


@dataclass(frozen=True)
class Times:
    """Seconds that frames took on the device, each frame alone.

    ``frames`` holds one number per frame; ``stages`` as many for each stage. A stage's time is that
    of its call; a frame's runs from the first stage's start to the last one's end.
    """

    frames: tuple[float, ...]
    stages: Mapping[str, tuple[float, ...]]

    @classmethod
    def join(cls, parts: Sequence[Times]) -> Times:
        """The frames of one or more runs of the same stages, in order."""
        return cls(
            tuple(s for part in parts for s in part.frames),
            {name: tuple(s for p in parts for s in p.stages[name]) for name in parts[0].stages},
        )


@dataclass(frozen=True)
class Core:
    """One core's clock in MHz and its governor, each None where the device cannot tell."""

    core: int
    mhz: float | None
    governor: str | None


@dataclass(frozen=True)
class State:
    """The device at one moment: degrees Celsius, cores, free MiB; None where it cannot tell."""

    temperature_c: float | None
    cores: tuple[Core, ...]
    free_mib: float | None


def stage_files(manifest: Manifest) -> dict[str, StageFiles]:
    """Which of the bundle's files each ``tvm`` stage needs on a device, by the stage's name."""
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    found = {}
    for stage in manifest.stages:
        if stage.kind == KIND:
            names = {name: digests.get(f"{stage.folder}/{name}") for name in _file_names(stage)}
            library, *weights = names.values()
            if library is None or None in weights:
                raise _unsound(stage, f"its options name {', '.join(names)}, not all listed")
            found[stage.name] = StageFiles(library, weights[0] if weights else None)
    return found


def files_to_send(bundle: Bundle) -> list[File]:
    """The files of all ``tvm`` stages."""
    wanted = {
        digest
        for files in stage_files(bundle.manifest).values()
        for digest in (files.library, files.weights)
    }
    return [
        File(entry.sha256, entry.size, bundle.root / entry.path)
        for entry in bundle.manifest.files
        if entry.sha256 in wanted
    ]


def open_request(manifest: Manifest, *, check_features: bool) -> dict[str, Any]:
    """What ``edgeweave.device.open`` is asked for; BundleError for unsound options."""
    files = stage_files(manifest)
    return {
        "stages": [_stage_request(stage, files[stage.name]) for stage in manifest.stages],
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [spec.name for spec in manifest.outputs],
        "check_features": check_features,
    }


def _stage_request(stage: StageEntry, files: StageFiles) -> dict[str, Any]:
    function, weights = stage.options.get("function"), stage.options.get("weights", [])
    sound = isinstance(function, str) and all(
        isinstance(weight, dict)
        and all(isinstance(weight.get(key), kind) for key, kind in _WEIGHT_KEYS.items())
        for weight in weights
    )
    if not sound or bool(weights) > (files.weights is not None):
        raise _unsound(stage, "its options do not name a function, weights and their file")
    return {
        "name": stage.name,
        "library": files.library,
        "weights": files.weights,
        "function": function,
        "weights_index": [{key: weight[key] for key in _WEIGHT_KEYS} for weight in weights],
        "inputs": [_tensor(spec) for spec in stage.inputs],
        "outputs": [_tensor(spec) for spec in stage.outputs],
        "cores": list(stage.cores),
        "features": list(stage.options.get("features", ())),
    }


def _file_names(stage: StageEntry) -> list[str]:
    weights = stage.options.get("weights_file")
    return [LIBRARY_NAME] if weights is None else [LIBRARY_NAME, str(weights)]


def _tensor(spec: ValueSpec) -> dict[str, Any]:
    if not spec.is_static or spec.shape is None:
        raise BundleError(
            f"value {spec.name!r}",
            f"is {spec.type} of a shape that only a run shows, and a device takes fixed tensors",
            "Fix the model's input shapes with --shape when it is compiled",
        )
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _unsound(stage: StageEntry, reason: str) -> BundleError:
    return BundleError(f"stage {stage.name}", reason, "Pack the model again")


class DeviceStages:
    """A bundle's stages, open in a session; ``notes`` says what could not be set up as planned."""

    def __init__(
        self, session: Session, manifest: Manifest, *, check_features: bool = True
    ) -> None:
        request = open_request(manifest, check_features=check_features)
        reply = session.ask(OPEN, request, limit_s=_OPEN_LIMIT_S)
        self.notes = tuple(str(note) for note in reply.get("notes", ()))
        self._session = session
        self._inputs = manifest.inputs
        self._outputs = manifest.outputs
        self._names = [stage.name for stage in manifest.stages]

    def set_inputs(self, frame: Mapping[str, Any]) -> None:
        """Give the device a frame, which the runs that follow use; InputError for a wrong one."""
        from edgeweave.runtime.input_check import check_inputs

        for name, value in check_inputs(self._inputs, frame).items():
            data = value.astype(_little(value.dtype), copy=False).tobytes()
            limit_s = _SHORT_S + len(data) / _BYTES_PER_S
            self._session.ask(SET_INPUT, name, data, limit_s=limit_s)

    def run(self, frames: int, limit_s: float) -> Times:
        """Run the frame so many times, one after another; the device takes the times."""
        columns = len(self._names) + 1
        data = self._bytes(RUN, frames, 0, limit_s=limit_s)
        if len(data) != frames * columns * 8:
            raise self._odd(RUN, f"it gives {len(data)} bytes of times for {frames} frames")
        values = [ns / 1e9 for (ns,) in struct.iter_unpack("<q", data)]
        stages = {n: tuple(values[i::columns]) for i, n in enumerate(self._names)}
        return Times(tuple(values[columns - 1 :: columns]), stages)

    def outputs(self) -> dict[str, Any]:
        """The outputs of the last run by name, as arrays."""
        return {spec.name: self._output(spec) for spec in self._outputs}

    def _output(self, spec: ValueSpec) -> Any:
        import numpy as np

        from edgeweave.runtime.dtypes import named_dtype

        size = spec.nbytes or 0
        data = self._bytes(GET_OUTPUT, spec.name, limit_s=_SHORT_S + size / _BYTES_PER_S)
        if len(data) != size:
            raise self._odd(GET_OUTPUT, f"it gives {len(data)} bytes of {spec.name!r}, not {size}")
        return np.frombuffer(data, _little(named_dtype(spec.dtype or ""))).reshape(spec.shape)

    def _bytes(self, name: str, *arguments: Any, limit_s: float) -> bytes:
        """What a function returns as bytes; the fault when it returns an error as text."""
        reply = self._session.call(name, *arguments, limit_s=limit_s)
        if isinstance(reply, bytes):
            return reply
        raise reported(self._session.subject, str(reply))

    def _odd(self, function: str, what: str) -> DeviceFailure:
        return DeviceFailure(self._session.subject, f"{function} keeps no contract: {what}")

    def state(self) -> State:
        """Temperature, clocks and governors now."""
        reply = self._session.ask(STATE, {}, limit_s=_SHORT_S)
        try:
            return _read_state(Part(STATE, reply))
        except MalformedReplyError as error:
            raise DeviceFailure(self._session.subject, str(error)) from error


def _read_state(reply: Part) -> State:
    cores = tuple(
        Core(
            cpu["core"].count(),
            cpu["mhz"].optional(Part.number),
            cpu["governor"].optional(Part.text),
        )
        for cpu in reply["cpus"].items()
    )
    temperature, free = reply["temperature_c"].optional(Part.number), reply["free_mib"]
    return State(temperature, cores, free.optional(Part.number))


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype as it travels; types of one byte and those of ml_dtypes have no byte order."""
    return dtype.newbyteorder("<") if dtype.byteorder in "<=>" else dtype
