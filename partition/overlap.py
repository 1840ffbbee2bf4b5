"""Stages of one frame in time, slowing each other down where they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeweave.partition.contention import INFINITY, Contention


@dataclass(frozen=True)
class Job:
    """One stage as work for an engine.

    ``seconds`` is what it takes alone, ``nbytes`` what it moves through the shared memory, and
    ``after`` are the indices of the jobs whose results it reads.
    """

    engine: int
    seconds: float
    nbytes: int
    after: tuple[int, ...]

    @property
    def demand(self) -> float:
        """Bytes per second while it runs alone."""
        return self.nbytes / self.seconds if self.seconds > 0 else 0.0


def run_once(
    jobs: Sequence[Job], engines: int, contention: Contention | None
) -> list[tuple[float, float]]:
    """Start and end of each job in one frame on an idle board, in seconds.

    An engine runs its jobs in the order of their index. Without contention a job takes its
    seconds; with it, jobs that run at the same time slow each other down.
    """
    if contention is None or not _may_contend(jobs, contention):
        return _run_undisturbed(jobs, engines)
    return _run_contended(jobs, contention)


def _may_contend(jobs: Sequence[Job], contention: Contention) -> bool:
    most: dict[int, float] = {}
    for job in jobs:
        most[job.engine] = max(most.get(job.engine, 0.0), job.demand)
    return sum(most.values()) > contention.knee_bytes_per_s


def _run_undisturbed(jobs: Sequence[Job], engines: int) -> list[tuple[float, float]]:
    free = [0.0] * engines
    times: list[tuple[float, float]] = []
    for job in jobs:
        ready = max((times[i][1] for i in job.after), default=0.0)
        start = max(ready, free[job.engine])
        free[job.engine] = start + job.seconds
        times.append((start, free[job.engine]))
    return times


def _run_contended(jobs: Sequence[Job], contention: Contention) -> list[tuple[float, float]]:
    start = [INFINITY] * len(jobs)
    end = [INFINITY] * len(jobs)
    left = [job.seconds for job in jobs]
    waiting = list(range(len(jobs)))
    running: dict[int, int] = {}  # engine: job
    now = 0.0
    while waiting or running:
        # Jobs read from jobs with smaller indices only, so one pass in their order is enough.
        for k in list(waiting):
            job = jobs[k]
            first = next(i for i in waiting if jobs[i].engine == job.engine)
            if first == k and job.engine not in running and all(end[i] <= now for i in job.after):
                start[k] = now
                running[job.engine] = k
                waiting.remove(k)
        paces = contention.paces([jobs[k].demand for k in running.values()])
        finish = {k: now + left[k] / pace for k, pace in zip(running.values(), paces, strict=True)}
        then = min(finish.values())
        for (engine, k), pace in zip(list(running.items()), paces, strict=True):
            if finish[k] <= then:
                end[k] = then
                del running[engine]
            else:
                left[k] = max(0.0, left[k] - (then - now) * pace)
        now = then
    return list(zip(start, end, strict=True))
