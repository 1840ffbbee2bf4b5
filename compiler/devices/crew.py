"""The devices that share a profile's work, each in a thread of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeweave.compiler.check_region import Verdict
from edgeweave.compiler.devices.bench import DeviceBench, Effort, Tried, stamp_of
from edgeweave.compiler.devices.links import measure_link
from edgeweave.compiler.devices.record import Recorder
from edgeweave.compiler.devices.regions import DeviceRegion, check_device
from edgeweave.compiler.devices.timing import time_regions
from edgeweave.compiler.devices.work import Batch, Item
from edgeweave.compiler.devices.work_queue import WorkQueue
from edgeweave.compiler.pipeline import Progress
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.targets.board import Board
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import DeviceError, DeviceFailure
from edgeweave.targets.devices.identity import Identity
from edgeweave.targets.devices.pool import Done, Place, on_each
from edgeweave.targets.devices.session import Session

PHASE = "measuring on the device"
_TRIES = 5  # sessions on one device that the way to it may cut off


@dataclass(frozen=True)
class DeviceOutcome:
    """What became of one device. ``left_out`` says why it was not used, "" when it was.

    ``stamp`` is None for one that was never reached; ``fault`` is what it was lost by.
    """

    name: str
    address: Address
    stamp: DeviceStamp | None
    measured: int
    left_out: str
    fault: DeviceError | None


class DeviceCrew:
    """All devices of one kind that share the work, each in a thread of its own."""

    def __init__(
        self,
        board: Board,
        effort: Effort,
        recorder: Recorder,
        items: Sequence[Item],
        progress: Progress,
    ) -> None:
        self.queue: WorkQueue[Item] = WorkQueue(items)
        self.notes: list[str] = []
        self._board, self._effort, self._recorder = board, effort, recorder
        self._total = sum(item.size for item in items)
        self._progress = progress
        self._turn = threading.Lock()
        self._done = 0
        self._first: Identity | None = None
        self._benches: list[DeviceBench] = []
        self._measured: Counter[Address] = Counter()
        self._controls: dict[tuple[Address, str], Tried] = {}

    def run(self, place: Place) -> tuple[DeviceOutcome, ...]:
        """Work through the queue; raises the fault when there is no device at all."""
        try:
            return self._outcomes(on_each(place, self._serve, _TRIES, self.notes.append))
        finally:
            self.queue.stop()
            for bench in self._benches:
                bench.cut()

    def _serve(self, session: Session) -> str:
        """Measure on one device until nothing is left; why it was left out, "" if it was not."""
        other = self._join(session.identity)
        if other:
            return other
        stamp = stamp_of(session.identity)
        check_device(self._board, session.identity, session.subject)
        self._recorder.device(stamp, session.identity.runners)
        with DeviceBench(session, self._board, self._effort) as bench:
            with self._turn:
                self._benches.append(bench)
            while True:
                with self.queue.take() as item:
                    if item is None:
                        return ""
                    self._measure(bench, item)

    def _join(self, identity: Identity) -> str:
        """Why the device is of another kind than the first one; "" when it is of the same."""
        with self._turn:
            self._first = self._first or identity
        return other_kind(self._first, identity)

    def _measure(self, bench: DeviceBench, item: Item) -> None:
        if not isinstance(item, Batch):
            self._tell(bench, 0, item.names[0])
            self._recorder.link(measure_link(bench, item.a, item.b))
            self._tell(bench, 1, "")
            return
        control = self._try_control(bench, item.control)
        tried = []
        for region in item.regions:
            self._tell(bench, 0, region.region.name)
            tried.append(bench.attempt(region))
            last = tried[-1]
            self._recorder.verdict(region, last.verdict, last.detail, bench.stamp)
        sound = [each for each in tried if each.verdict is Verdict.EQUAL]
        for timed in time_regions(bench, sound, control):
            self._recorder.times(timed, bench.stamp)
        self._measured[bench.session.address] += len(sound)
        self._tell(bench, len(item.regions), "")

    def _try_control(self, bench: DeviceBench, control: DeviceRegion | None) -> Tried | None:
        """The control kernel, once it has run on the device; None where it cannot."""
        if control is None:
            return None
        key = bench.session.address, control.engine.name
        if key not in self._controls:
            tried = self._controls[key] = bench.attempt(control)
            name = control.engine.name
            if tried.verdict is Verdict.UNBUILDABLE:  # then nothing else is to blame, either
                raise DeviceFailure(
                    bench.session.subject,
                    f"cannot run a plain matrix product on {name} ({tried.detail})",
                    f"Check the cores and the llvm_target of {name} in the board file",
                )
            if tried.verdict is not Verdict.EQUAL:
                self.notes.append(
                    f"{bench.stamp.name}: the control kernel is {tried.verdict} on {name} "
                    f"({tried.detail}); nothing watches the device there"
                )
        found = self._controls[key]
        return found if found.verdict is Verdict.EQUAL else None

    def _tell(self, bench: DeviceBench, done: int, what: str) -> None:
        with self._turn:
            self._done += done
            if what:
                self._progress(PHASE, self._done, self._total, f"{bench.stamp.name}: {what}")

    def _outcomes(self, done: Iterable[Done[str]]) -> tuple[DeviceOutcome, ...]:
        """What became of each device."""
        return tuple(
            DeviceOutcome(
                name=each.name,
                address=each.address,
                stamp=None if each.identity is None else stamp_of(each.identity),
                measured=self._measured[each.address],
                left_out=each.value or "",
                fault=each.fault,
            )
            for each in done
        )


def other_kind(first: Identity, own: Identity) -> str:
    """Why figures of a device do not stand for those of the first one; "" when they do."""
    wanted, there = stamp_of(first), stamp_of(own)
    if (there.kind, there.word, own.runners) == (wanted.kind, wanted.word, first.runners):
        return ""
    return (
        f"{there}, {there.word}, is not the same kind as {wanted}, {wanted.word}: "
        "figures of one say nothing about the other"
    )
