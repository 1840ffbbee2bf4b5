"""What the cores work for each stage, beside the time that passes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from edgeweave.runtime.manifest import StageEntry
from edgeweave.runtime.runners import Runner, Value, find_loader


class CpuTimes:
    """Opens stages like the runtime, and notes the seconds that the core worked for each call.

    Give ``load`` to a pipeline as the loader of the stages' kinds. Only the worker's own thread is
    counted, so a stage on several cores counts too little.
    """

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = {}

    def load(self, stage: StageEntry, folder: Path, cores: tuple[int, ...]) -> Runner:
        """The stage's own runner, timed."""
        taken = self._taken.setdefault(stage.name, [])
        return _Timed(find_loader(stage, {})(stage, folder, cores), taken)

    def take(self, calls: int) -> dict[str, float]:
        """Each stage's mean over its last ``calls`` calls since the last ``take``."""
        found = {name: mean(taken[-calls:]) for name, taken in self._taken.items() if taken}
        for taken in self._taken.values():
            taken.clear()
        return found


class _Timed:
    def __init__(self, runner: Runner, taken: list[float]) -> None:
        self._runner, self._taken = runner, taken

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        begin = time.thread_time()
        outputs = self._runner.run(inputs)
        self._taken.append(time.thread_time() - begin)
        return outputs

    def close(self) -> None:
        self._runner.close()
