"""The thread of one engine: pins itself, opens the engine's stages, runs what is ready."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from edgeweave.runtime.bundle import Bundle
from edgeweave.runtime.errors import EdgeweaveError, RuntimeFault, StageFailure
from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import Loader, Runner, find_loader, first_line
from edgeweave.runtime.scheduler import Scheduler, Task


class Worker(threading.Thread):
    """Runs all stages of one engine, one at a time.

    ``opened`` resolves to the notes of the start, or to the error that prevented it.
    """

    def __init__(
        self,
        engine: str,
        stages: tuple[StageEntry, ...],
        bundle: Bundle,
        scheduler: Scheduler,
        loaders: Mapping[str, Loader],
    ) -> None:
        # a daemon, so that a pipeline nobody closed does not keep the interpreter from ending
        super().__init__(name=f"edgeweave-{engine}", daemon=True)
        self.opened: Future[list[str]] = Future()
        self._engine = engine
        self._stages = stages
        self._bundle = bundle
        self._scheduler = scheduler
        self._loaders = loaders
        self._runners: dict[str, Runner] = {}

    def run(self) -> None:
        """Body of the thread."""
        try:
            try:
                notes = self._open()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                self.opened.set_exception(error)
                return
            self.opened.set_result(notes)
            while (task := self._scheduler.next_task(self._engine)) is not None:
                self._run_task(task)
                del task  # or the values of this frame would live until the next
        finally:
            for runner in self._runners.values():
                runner.close()
            self._runners.clear()

    def _open(self) -> list[str]:
        wanted = self._stages[0].cores
        cores, notes = _pin(self._engine, wanted)
        for stage in self._stages:
            loader = find_loader(stage, self._loaders)
            try:
                self._runners[stage.name] = loader(stage, self._bundle.stage_folder(stage), cores)
            except EdgeweaveError:
                raise
            except Exception as error:
                raise RuntimeFault(
                    f"stage {stage.name}",
                    f"cannot be opened ({type(error).__name__}: {first_line(error)})",
                    "Pack the model again with the versions installed here",
                ) from error
            if cores:  # TVM's thread pool narrows the mask of the thread that sets it up
                os.sched_setaffinity(0, cores)
        return notes

    def _run_task(self, task: Task) -> None:
        start = time.perf_counter()
        try:
            outputs = self._runners[task.stage.name].run(task.inputs)
            if len(outputs) != len(task.stage.outputs):
                raise ValueError(f"it returned {len(outputs)} values")
        except BaseException as error:  # noqa: BLE001 - a dead worker would hang the pipeline
            self._scheduler.fail(task, _failure(task, error))
        else:
            self._scheduler.complete(task, outputs, (start, time.perf_counter()))


def _failure(task: Task, error: BaseException) -> StageFailure:
    failure = StageFailure(
        f"stage {task.stage.name}",
        f"failed on frame {task.frame.number} ({type(error).__name__}: {first_line(error)})",
        "Check the values of that frame's inputs",
    )
    failure.__cause__ = error
    return failure


def _pin(engine: str, wanted: tuple[int, ...]) -> tuple[tuple[int, ...], list[str]]:
    """Pin this thread; the cores it is really pinned to (none: not pinned), and what is amiss."""
    if not wanted:
        return (), []
    shown = ", ".join(map(str, wanted))
    if not hasattr(os, "sched_setaffinity"):
        return (), [f"engine {engine}: this system cannot pin threads, so it is not pinned"]
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        return (), [f"engine {engine}: not pinned to cores {shown} ({error.strerror})"]
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if set(cores) != set(wanted):
        here = ", ".join(map(str, cores))
        return cores, [f"engine {engine}: of its cores {shown} only {here} can be used here"]
    return cores, []
