"""A bundle on one device: sent, opened, run, timed by the device, and its outputs brought back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeweave.targets.devices.faults import DeviceTimeout
from edgeweave.targets.devices.stages import DeviceStages, State, Times
from edgeweave.targets.devices.upload import Upload, Uploader

if TYPE_CHECKING:
    from edgeweave.runtime.bundle import Bundle
    from edgeweave.targets.devices.session import Session

_CALL_S = 2.0  # frames of about so many seconds run in one call, so that progress shows
_SLOWER = 3.0  # a call may take so many times what the first frame lets expect ...
_MARGIN_S = 10.0  # ... and so much more, before the device counts as hung
_SETUP_S = 600.0  # opening stages, and inputs and outputs
_BYTES_PER_S = 100e3  # the slowest link that an upload is given time for

# (phase, steps done, steps in all, what is done now), as the command line narrates it
Report: TypeAlias = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Work:
    """What a device is asked to do with a bundle.

    ``frames`` are the distinct ones, which take turns until ``count`` were timed; ``warmup`` run
    untimed before. ``fetched`` counts the distinct frames whose outputs are wanted back.
    ``timeout_s`` bounds each call that runs frames.
    """

    bundle: Bundle
    frames: tuple[Mapping[str, Any], ...]
    count: int
    warmup: int
    fetched: int
    timeout_s: float
    check_features: bool = True


@dataclass(frozen=True)
class Ran:
    """What a device did: what it was sent, times, outputs of the first distinct frames."""

    upload: Upload
    times: Times
    outputs: tuple[Mapping[str, Any], ...]
    before: State
    after: State
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One call that runs frames: which distinct frame, how many times, and whether they count."""

    frame: int
    frames: int
    counted: bool


def run_work(session: Session, work: Work, uploader: Uploader, report: Report) -> Ran:
    """Send the bundle's stages to the device of a session, open them and run the frames.

    Raises the fault that ended it. What ``uploader`` has sent stays on the device.
    """
    manifest = work.bundle.manifest
    upload = uploader.run(session)
    report("opening", 0, 1, f"stages: {len(manifest.stages)}")
    stages = DeviceStages(session, manifest, check_features=work.check_features)
    before = stages.state()
    times, outputs = _run_frames(stages, work, report)
    return Ran(upload, times, outputs, before, stages.state(), stages.notes)


def _run_frames(
    stages: DeviceStages, work: Work, report: Report
) -> tuple[Times, tuple[Mapping[str, Any], ...]]:
    """Times of the counted frames, and the outputs of the first distinct ones.

    The first frame runs by itself: what it takes decides how many go into one call.
    """
    total, done, loaded = work.warmup + work.count, 1, 0
    taken: list[Times] = []
    outputs: dict[int, Mapping[str, Any]] = {}

    def keep(call: Call, times: Times) -> None:
        if call.counted:
            taken.append(times)
            if call.frame < work.fetched and call.frame not in outputs:
                outputs[call.frame] = stages.outputs()

    report("running", 0, total, "the first frame")
    stages.set_inputs(work.frames[0])
    first = _run(stages, 1, work.timeout_s)
    keep(Call(0, 1, counted=not work.warmup), first)
    for call in plan_calls(work, first.frames[0]):
        report("running", done, total, f"frames in this call: {call.frames}")
        if call.frame != loaded:
            stages.set_inputs(work.frames[call.frame])
            loaded = call.frame
        limit_s = call_limit(call.frames, first.frames[0], work.timeout_s)
        keep(call, _run(stages, call.frames, limit_s))
        done += call.frames
    return Times.join(taken), tuple(outputs[i] for i in range(work.fetched))


def _run(stages: DeviceStages, frames: int, limit_s: float) -> Times:
    try:
        return stages.run(frames, limit_s)
    except DeviceTimeout as fault:
        fault.retry = False  # what takes too long takes as long again
        fault.next_step = "Give it more time with --timeout, or run fewer frames"
        raise


def plan_calls(work: Work, first_s: float) -> Iterator[Call]:
    """The calls after the first one, in which the first distinct frame ran once.

    A call holds as many frames as take about two seconds and stay far from the time limit when
    each takes as long as the first did; and few enough that every distinct frame has its turn.
    """
    fitting = int(min(min(_CALL_S, work.timeout_s / 2) / max(first_s, 1e-9), 1e9))
    distinct, turn = len(work.frames), 0 if work.warmup else 1
    for count in range(1, work.warmup, max(1, fitting)):
        yield Call(0, min(max(1, fitting), work.warmup - count), counted=False)
    left = work.count if work.warmup else work.count - 1
    while left:
        frames = max(1, min(left, work.count // distinct, fitting))
        yield Call(turn % distinct, frames, counted=True)
        turn, left = turn + 1, left - frames


def call_limit(frames: int, first_s: float, timeout_s: float) -> float:
    """Seconds that a call may take, from what the first frame took."""
    return min(timeout_s, frames * first_s * _SLOWER + _MARGIN_S)


def session_limit(work: Work, nbytes: int) -> float:
    """Seconds after which the device may end a session whose other side is gone without a word.

    More than the work can take when all of its calls do; the device has a limit of its own, too.
    """
    calls = work.warmup + work.count
    return _SETUP_S + nbytes / _BYTES_PER_S + calls * work.timeout_s
