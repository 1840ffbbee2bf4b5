"""Which engine runs which stage of which frame next; shared by the caller and the workers."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from edgeweave.runtime.errors import RuntimeFault, StageFailure
from edgeweave.runtime.frames import Flow, Frame, FrameResult
from edgeweave.runtime.manifest import Manifest, StageEntry
from edgeweave.runtime.runners import Value


@dataclass(frozen=True)
class Task:
    """One stage of one frame, with the values it reads."""

    frame: Frame
    index: int
    stage: StageEntry
    inputs: tuple[Value, ...]


class Scheduler:
    """Admits at most ``depth`` frames, hands out ready stages, delivers frames in order.

    An engine gets its ready stages by frame, then by their order in the plan. A frame counts
    against ``depth`` until its result is taken.
    """

    def __init__(self, manifest: Manifest, depth: int) -> None:
        self._stages = manifest.stages
        self._flow = Flow.of(manifest)
        self._depth = depth
        # re-entrant, because the garbage collector may close a pipeline inside any call
        self._lock = threading.RLock()
        self._caller = threading.Condition(self._lock)
        engines = dict.fromkeys(stage.engine for stage in manifest.stages)
        self._work = {engine: threading.Condition(self._lock) for engine in engines}
        self._ready: dict[str, list[tuple[int, int]]] = {engine: [] for engine in engines}
        self._frames: deque[Frame] = deque()
        self._by_number: dict[int, Frame] = {}
        self._next_number = 0
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Frames that were admitted and whose result was not taken."""
        with self._lock:
            return len(self._frames)

    @property
    def is_full(self) -> bool:
        """Whether the next frame would have to wait."""
        return self.in_flight >= self._depth

    @property
    def head_is_finished(self) -> bool:
        """Whether ``take`` would return at once."""
        with self._lock:
            return bool(self._frames) and self._frames[0].finished_at is not None

    def admit(self, values: Mapping[str, Value], timeout_s: float | None) -> int:
        """Start a frame, waiting while the pipeline is full; its number."""
        with self._lock:
            room = self._caller.wait_for(
                lambda: self._closed or len(self._frames) < self._depth, timeout_s
            )
            self._refuse_when_closed()
            if not room:
                raise RuntimeFault(
                    "pipeline",
                    f"still holds {len(self._frames)} frames after {timeout_s} s",
                    "Take results before submitting more, or make it with a larger queue_depth",
                )
            frame = Frame(self._flow, self._next_number, time.perf_counter())
            self._next_number += 1
            self._frames.append(frame)
            self._by_number[frame.number] = frame
            for index, missing in enumerate(frame.missing):
                if missing == 0:  # a stage of constants
                    self._enqueue(frame, index)
            for name, value in values.items():
                self._store(frame, name, value)
            self._close_if_done(frame, frame.submitted_at)
            return frame.number

    def take(self) -> FrameResult:
        """The next frame in order of admission, waiting until it has finished."""
        with self._lock:
            if not self._frames and not self._closed:
                raise RuntimeFault("pipeline", "holds no frame", "Submit one first")
            self._caller.wait_for(
                lambda: self._closed or not self._frames or self._frames[0].finished_at is not None
            )
            self._refuse_when_closed()
            if not self._frames:
                raise RuntimeFault("pipeline", "its frames were discarded", "Submit them again")
            frame = self._frames.popleft()
            del self._by_number[frame.number]
            self._caller.notify_all()
            return frame.result()

    def next_task(self, engine: str) -> Task | None:
        """The engine's next stage, waiting until there is one; None when closed."""
        with self._lock:
            ready = self._ready[engine]
            self._work[engine].wait_for(lambda: self._closed or bool(ready))
            if self._closed:
                return None
            number, index = heapq.heappop(ready)
            frame, stage = self._by_number[number], self._stages[index]
            inputs = tuple(frame.values[spec.name] for spec in stage.inputs)
            return Task(frame, index, stage, inputs)

    def complete(self, task: Task, outputs: list[Value], span: tuple[float, float]) -> None:
        """Record what a stage returned and make its readers ready."""
        with self._lock:
            frame = task.frame
            if frame.finished_at is not None:
                return  # another stage of the frame failed, or the frame was discarded
            frame.spans[task.stage.name] = span
            frame.left -= 1
            frame.release(task.index)
            for spec, value in zip(task.stage.outputs, outputs, strict=True):
                self._store(frame, spec.name, value)
            self._close_if_done(frame, span[1])

    def fail(self, task: Task, failure: StageFailure) -> None:
        """End the frame with a failure; its other stages do not start any more."""
        with self._lock:
            if task.frame.finished_at is None:
                task.frame.finish(time.perf_counter(), failure)
                self._drop_ready({task.frame.number})
                self._caller.notify_all()

    def discard(self) -> int:
        """Drop every frame in flight; stages that run now finish unheard. How many were dropped."""
        with self._lock:
            return self._discard()

    def close(self) -> None:
        """Drop all frames and end every wait."""
        with self._lock:
            self._closed = True
            self._discard()
            for condition in self._work.values():
                condition.notify_all()

    def _discard(self) -> int:
        dropped = len(self._frames)
        for frame in self._frames:
            if frame.finished_at is None:
                frame.finish(time.perf_counter())
            frame.values.clear()
        self._drop_ready(set(self._by_number))
        self._frames.clear()
        self._by_number.clear()
        self._caller.notify_all()
        return dropped

    def _drop_ready(self, numbers: set[int]) -> None:
        for ready in self._ready.values():
            ready[:] = [item for item in ready if item[0] not in numbers]
            heapq.heapify(ready)

    def _store(self, frame: Frame, name: str, value: Value) -> None:
        for index in frame.store(name, value):
            self._enqueue(frame, index)

    def _enqueue(self, frame: Frame, index: int) -> None:
        engine = self._stages[index].engine
        heapq.heappush(self._ready[engine], (frame.number, index))
        self._work[engine].notify()

    def _close_if_done(self, frame: Frame, now: float) -> None:
        if frame.left == 0:
            frame.finish(now)
            self._caller.notify_all()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise RuntimeFault("pipeline", "is closed", "Open the bundle again")
