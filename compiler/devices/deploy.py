"""A bundle on one device or many: checked, sent, run on all at once, and compared afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeweave.compiler.devices.run import Ran, Work, run_work, session_limit
from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.measure import LatencySummary
from edgeweave.runtime.nudge import nudged
from edgeweave.runtime.verify import Verification, compare_frames, reference_outputs
from edgeweave.targets.devices.pool import Done, Place, on_each
from edgeweave.targets.devices.stages import Times, files_to_send
from edgeweave.targets.devices.suitability import check_bundle, check_device
from edgeweave.targets.devices.upload import File, Upload, Uploader

if TYPE_CHECKING:
    from edgeweave.runtime.bundle import Bundle
    from edgeweave.runtime.compare import Tolerance
    from edgeweave.targets.devices.address import Address
    from edgeweave.targets.devices.faults import DeviceError
    from edgeweave.targets.devices.identity import Identity
    from edgeweave.targets.devices.session import Session

# (device or "", phase, steps done, steps in all, what is done now); called from several threads
DeviceReport: TypeAlias = Callable[[str, str, int, int, str], None]


class DevicesFailed(RuntimeFault):
    """Some of several devices failed."""


@dataclass(frozen=True)
class Bench:
    """Times of frames that ran alone, stage after stage, in seconds.

    ``word`` is measured or emulated. ``misses`` counts the frames over the bundle's budget; None
    when it has none.
    """

    word: str
    frames: int
    warmup: int
    latency: LatencySummary
    stages: Mapping[str, LatencySummary]
    misses: int | None


def summarise(times: Times, word: str, warmup: int, budget_s: float | None) -> Bench:
    """Percentiles of what a device timed."""
    return Bench(
        word,
        len(times.frames),
        warmup,
        LatencySummary.of(times.frames),
        {name: LatencySummary.of(seconds) for name, seconds in times.stages.items()},
        None if budget_s is None else sum(s > budget_s for s in times.frames),
    )


@dataclass(frozen=True)
class DeviceResult:
    """What came of one device; what is None was not reached.

    ``name`` is its address where its own is not known. ``retried`` are the faults of earlier
    attempts, in words.
    """

    name: str
    address: Address
    identity: Identity | None
    upload: Upload | None
    ran: Ran | None
    bench: Bench | None
    verification: Verification | None
    notes: tuple[str, ...]
    retried: tuple[str, ...]
    fault: DeviceError | None

    @property
    def word(self) -> str | None:
        """What figures of this device are called; None when it was never reached."""
        return None if self.identity is None else self.identity.word

    @property
    def result(self) -> str:
        """``failed``, ``differs``, ``verified`` or ``ran``."""
        if self.fault is not None:
            return "failed"
        if self.verification is None:
            return "ran"
        return "verified" if self.verification.passed else "differs"


def check_deployable(bundle: Bundle, *, verify: bool) -> None:
    """RuntimeFault for a bundle that no device can run, or that cannot be verified."""
    check_bundle(bundle)
    if verify and bundle.reference is None:
        raise RuntimeFault(
            str(bundle.path), "carries no reference model", "Pack the model again with it"
        )


def deploy(
    work: Work,
    place: Place,
    tolerance: Tolerance | None,
    report: DeviceReport,
    say: Callable[[str], None] | None = None,
) -> tuple[DeviceResult, ...]:
    """Run the work on the device, or at once on all that the place gives, and compare.

    With a ``tolerance`` each device's outputs are compared with ONNX Runtime's. What a device
    fails with is in its result. Raises the fault when no device can be had at all.
    """
    expected: list[dict[str, Any]] = []
    if tolerance is not None:  # first, so that what fails here costs no device any time
        report("", "reference", 0, 1, "ONNX Runtime on the original model")
        expected = reference_outputs(work.bundle, work.frames[: work.fetched])
    files = files_to_send(work.bundle)
    limit_s = session_limit(work, sum(file.size for file in files))
    place = replace(place, options=replace(place.options, limit_s=limit_s))
    tasks: dict[Address, _Task] = {}

    def run(session: Session) -> Ran:
        # a later session goes on with the upload that an earlier one began
        task = tasks.setdefault(session.address, _Task(work, session.name, report, files))
        return task.run(session)

    return tuple(
        _result(work, device, tasks.get(device.address), tolerance, expected)
        for device in on_each(place, run, say=say)
    )


class _Task:
    """The work on one device, over as many sessions as it takes."""

    def __init__(self, work: Work, name: str, report: DeviceReport, files: Sequence[File]) -> None:
        self.notes: list[str] = []
        self.uploader = Uploader(files, self._tell_upload)
        self._work, self._name, self._report = work, name, report

    def run(self, session: Session) -> Ran:
        manifest, check = self._work.bundle.manifest, self._work.check_features
        self.notes = check_device(manifest, session.identity, check_features=check)
        return run_work(session, self._work, self.uploader, self._tell)

    def _tell(self, phase: str, done: int, total: int, what: str) -> None:
        self._report(self._name, phase, done, total, what)

    def _tell_upload(self, done: int, total: int) -> None:
        self._tell("sending", 0, 1, f"{done / 1024:.0f} of {total / 1024:.0f} KiB")


def _moved(work: Work) -> Callable[[int], Mapping[str, Any]]:
    """The reference's outputs for a frame whose inputs are nudged; seldom asked for."""
    return lambda index: reference_outputs(work.bundle, [nudged(work.frames[index], index)])[0]


def _result(
    work: Work,
    device: Done[Ran],
    task: _Task | None,
    tolerance: Tolerance | None,
    expected: Sequence[Mapping[str, Any]],
) -> DeviceResult:
    ran, manifest = device.value, work.bundle.manifest
    bench = verification = None
    if ran is not None and device.identity is not None:
        bench = summarise(ran.times, device.identity.word, work.warmup, manifest.budget_s)
        if tolerance is not None:
            pairs = zip(expected, ran.outputs, strict=True)
            verification = compare_frames(manifest, pairs, tolerance, _moved(work))
    return DeviceResult(
        name=device.name,
        address=device.address,
        identity=device.identity,
        upload=None if task is None else task.uploader.result,
        ran=ran,
        bench=bench,
        verification=verification,
        notes=(*(task.notes if task else ()), *(ran.notes if ran else ())),
        retried=device.tries,
        fault=device.fault,
    )
