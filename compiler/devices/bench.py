"""A device whose code is tried and timed: its session, and a new one after each that ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from edgeweave.compiler.check_region import Sample, Verdict, compare_samples, reference_samples
from edgeweave.compiler.devices.regions import DeviceRegion, files_of, open_together
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.partition.prediction.soundness import LIMITS, Core, Limits, Reading
from edgeweave.runtime.runners import first_line
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.devices.faults import (
    DeviceError,
    DeviceFailure,
    DeviceTimeout,
    SessionDied,
)
from edgeweave.targets.devices.identity import Identity, hello
from edgeweave.targets.devices.session import Session, open_session
from edgeweave.targets.devices.stages import DeviceStages
from edgeweave.targets.devices.upload import Uploader

_TRIES = 2  # of a region whose session ended by what may not be its own fault
_YOUNG = 4  # nothing new begins after this part of the longest session that the device allows
_FREE_S = 5.0  # a device is free again so soon after a session ended


@dataclass(frozen=True)
class Effort:
    """How much is measured: calls of each region, and seconds that one call may take.

    ``pause_s`` is how long a device rests before regions are timed again, because it did not behave
    within ``limits``.
    """

    repeats: int = 30
    timeout_s: float = 60.0
    pause_s: float = 10.0
    limits: Limits = field(default_factory=lambda: LIMITS)

    @property
    def session_s(self) -> float:
        """After so many seconds the device ends a session, and with it code that hangs."""
        return 8 * self.timeout_s + 10.0


@dataclass(frozen=True)
class Tried:
    """What one region's code showed on a device; ``inputs`` are what it is timed with."""

    region: DeviceRegion
    verdict: Verdict
    detail: str
    inputs: Mapping[str, Any]


def stamp_of(identity: Identity) -> DeviceStamp:
    """The device as records name it."""
    return DeviceStamp(
        name=identity.name,
        serial=identity.serial,
        arch=identity.arch,
        parts=tuple(cpu.part or "" for cpu in identity.cpus),
        word="emulated" if identity.emulated else "measured",
        versions=", ".join(f"{name} {text}" for name, text in sorted(identity.versions.items())),
    )


class DeviceBench:
    """A device for as long as it is measured.

    ``identity`` is who it was at first. ``baselines`` is what the control kernel took on each
    engine in what was sound so far.
    """

    def __init__(self, session: Session, board: Board, effort: Effort) -> None:
        self.session = session
        self.identity = session.identity
        self.stamp = stamp_of(session.identity)
        self.board = board
        self.effort = effort
        self.baselines: dict[str, float] = {}
        self._lent = session  # whoever opened it closes it
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.session is not self._lent:
            self.session.close()

    def cut(self) -> None:
        """End what runs on the device at once, from any thread."""
        self.session.cut()

    def renew(self) -> None:
        """A new session; waits until the device has ended the one before, or raises the fault."""
        self.session.close()
        busy = hello(self.session.address).busy
        left_s = 0.0 if busy is None else min(busy.left_s, self.effort.session_s)
        options = replace(
            self.session.options, limit_s=self.effort.session_s, wait_s=left_s + _FREE_S
        )
        self.session = open_session(self.session.address, options)
        self._since = time.monotonic()

    def freshen(self) -> None:
        """A new session unless this one is young: the device ends each after a while."""
        young_s = min(self.effort.timeout_s, self.identity.limits.session_s / _YOUNG)
        if time.monotonic() - self._since > young_s:
            self.renew()

    def who(self) -> DeviceStamp:
        """Who answers at the device's address now."""
        return stamp_of(hello(self.session.address))

    def send(self, regions: Sequence[DeviceRegion]) -> None:
        """Send the files of these regions, as far as the device does not have them."""
        Uploader(files_of(regions)).run(self.session)

    def open(self, regions: Sequence[DeviceRegion]) -> DeviceStages:
        """Open regions together; they run one after the other."""
        return DeviceStages(self.session, open_together(regions, self.board))

    def read(self, stages: DeviceStages, engine: Engine) -> Reading:
        """The device now, as far as it concerns that engine."""
        state = stages.state()
        cores = tuple(
            Core(c.core, c.mhz, c.governor) for c in state.cores if c.core in engine.cores
        )
        return Reading(state.temperature_c, cores)

    def attempt(self, region: DeviceRegion) -> Tried:
        """Compare a region's code with ONNX Runtime; raises what the region is not to blame for."""
        operators = {operator.type for operator in region.region.operators}
        samples = reference_samples(region.stage.model, operators)
        self.freshen()
        self.send([region])
        for number in range(1, _TRIES + 1):
            runner = _DeviceRunner(self, region)
            try:
                verdict, detail = runner.compare(samples)
            except (SessionDied, DeviceTimeout) as fault:
                self.renew()
                if number < _TRIES and fault.retry and isinstance(fault, SessionDied):
                    continue
                return Tried(region, Verdict.CRASHED, fault.reason, {})
            inputs = samples[0].inputs if verdict is Verdict.EQUAL else []
            names = [spec.name for spec in region.entry.inputs]
            return Tried(region, verdict, detail, dict(zip(names, inputs, strict=False)))
        raise AssertionError("the last try returns or raises")


class _DeviceRunner:
    """A region alone on a device, as what is compared with ONNX Runtime runs it."""

    def __init__(self, bench: DeviceBench, region: DeviceRegion) -> None:
        self._bench = bench
        self._region = region
        self._stages: DeviceStages | None = None

    def compare(self, samples: Sequence[Sample]) -> tuple[Verdict, str]:
        """The verdict on its outputs; raises a fault of the session or the device."""
        try:
            self._stages = self._bench.open([self._region])
            return compare_samples(self, self._region.stage, samples)
        except DeviceFailure as fault:
            return Verdict.UNBUILDABLE, f"run: {fault.reason}"
        except DeviceError:
            raise
        except Exception as error:  # noqa: BLE001 - outputs of generated code may be anything
            return Verdict.UNBUILDABLE, f"run: {first_line(error)}"

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """One call on the device, and its outputs."""
        stages, entry = self._stages, self._region.entry
        if stages is None:
            raise AssertionError("it is opened before it is compared")
        stages.set_inputs({s.name: v for s, v in zip(entry.inputs, inputs, strict=True)})
        stages.run(1, self._bench.effort.timeout_s)
        outputs = stages.outputs()
        return [outputs[spec.name] for spec in entry.outputs]

    def close(self) -> None:
        """Nothing to give back: the next regions that are opened take its place."""
