"""A bundle as a running pipeline: one worker per engine, frames in order."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any

from edgeweave.runtime.bundle import Bundle
from edgeweave.runtime.errors import InputError, RuntimeFault, StageFailure
from edgeweave.runtime.frames import FrameResult
from edgeweave.runtime.input_check import check_inputs
from edgeweave.runtime.machine import run_word
from edgeweave.runtime.runners import Loader, Value
from edgeweave.runtime.scheduler import Scheduler
from edgeweave.runtime.stand_in import with_stand_ins
from edgeweave.runtime.worker import Worker


class Pipeline(AbstractContextManager["Pipeline"]):
    """The stages of an open bundle, ready to run.

    ``queue_depth`` bounds the frames in flight: those submitted and not yet taken; it is one more
    than the number of engines unless given. ``loaders`` adds runners of other kinds, or replaces
    ours. ``word`` says what times of a run here are: measured, emulated or reference; ``notes``
    are sentences about what could not be set up as planned. A frame's arrays must not be changed
    before its result was taken. Close the pipeline before its bundle.
    """

    def __init__(
        self,
        bundle: Bundle,
        queue_depth: int | None = None,
        loaders: Mapping[str, Loader] | None = None,
    ) -> None:
        manifest, stand_ins = with_stand_ins(bundle.manifest)
        self.bundle = bundle
        self.word = run_word(manifest.stages)
        self.engines = tuple(dict.fromkeys(stage.engine for stage in manifest.stages))
        self.queue_depth = len(self.engines) + 1 if queue_depth is None else queue_depth
        if self.queue_depth < 1:
            raise RuntimeFault("queue depth", f"is {queue_depth}", "Give 1 or more")
        self._streaming = False
        self._scheduler = Scheduler(manifest, self.queue_depth)
        self._workers = [
            Worker(
                engine,
                tuple(stage for stage in manifest.stages if stage.engine == engine),
                bundle,
                self._scheduler,
                dict(loaders or {}),
            )
            for engine in self.engines
        ]
        # also runs when the pipeline is dropped unclosed and when the interpreter ends
        self._shut_down = weakref.finalize(self, _shut_down, self._scheduler, self._workers)
        self.notes = (*stand_ins, *self._start())

    def _start(self) -> tuple[str, ...]:
        try:
            for worker in self._workers:
                worker.start()
            return tuple(note for worker in self._workers for note in worker.opened.result())
        except BaseException:
            self.close()
            raise

    def submit(self, frame: Mapping[str, Any], timeout_s: float | None = None) -> int:
        """Start a frame and return its number; waits while ``queue_depth`` frames are in flight.

        Raises InputError for a frame that is not as declared, and RuntimeFault when the wait takes
        longer than ``timeout_s`` or the pipeline is closed.
        """
        return self._scheduler.admit(check_inputs(self.bundle.manifest.inputs, frame), timeout_s)

    def result(self) -> FrameResult:
        """The next frame in the order of submission, waiting for its end; failed ones included."""
        return self._scheduler.take()

    def run(self, frame: Mapping[str, Any]) -> dict[str, Value]:
        """Run one frame alone and return its outputs by name; raises StageFailure."""
        with closing(self.stream([frame])) as results:
            return dict(next(results).outputs)

    def stream(
        self, frames: Iterable[Mapping[str, Any]], keep_going: bool = False
    ) -> Generator[FrameResult, None, None]:
        """Run frames overlapped and yield their results in order.

        A failed frame raises its StageFailure and drops the frames behind it, whose number the
        message gives; with ``keep_going`` it is yielded with ``failure`` set, and the stream goes
        on. A frame that is not as declared raises InputError after the frames before it were
        yielded. Leaving the generator early drops the frames in flight.
        """
        if self._streaming or self._scheduler.in_flight:
            raise RuntimeFault(
                "pipeline", "has frames in flight", "Take their results or close the stream first"
            )
        self._streaming = True
        try:
            yield from self._stream(iter(frames), keep_going)
        finally:
            self._scheduler.discard()
            self._streaming = False

    def _stream(
        self, frames: Iterable[Mapping[str, Any]], keep_going: bool
    ) -> Generator[FrameResult, None, None]:
        refused: InputError | None = None
        for frame in frames:
            while self._scheduler.is_full:
                yield self._take(keep_going)
            try:
                self.submit(frame)
            except InputError as error:
                refused = error
                break
            while self._scheduler.head_is_finished:
                yield self._take(keep_going)
        while self._scheduler.in_flight:
            yield self._take(keep_going)
        if refused is not None:
            raise refused

    def _take(self, keep_going: bool) -> FrameResult:
        result = self._scheduler.take()
        failure = result.failure
        if failure is None or keep_going:
            return result
        dropped = self._scheduler.discard()
        if not dropped:
            raise failure
        behind = f"{dropped} later frames were in flight and are dropped"
        raise StageFailure(
            failure.subject, failure.reason, f"{failure.next_step}; {behind}"
        ) from failure.__cause__

    def close(self) -> None:
        """Drop the frames in flight and end the workers; may be called more than once."""
        self._shut_down()

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _shut_down(scheduler: Scheduler, workers: list[Worker]) -> None:
    scheduler.close()
    for worker in workers:
        # the garbage collector may drop a pipeline in any thread, a worker included
        if worker.ident is not None and worker is not threading.current_thread():
            worker.join()
