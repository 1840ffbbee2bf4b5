"""The memory that all engines share: how much slower they run side by side.

One law, used by the numbers of a plan, the solvers and the simulator alike. It is the normal region
of PCCS (Xu et al., "PCCS: Processor-Centric Contention-aware Slowdown Model for Heterogeneous
System-on-Chips", MICRO 2021), the model behind HaX-CoNN (Dagli and Belviranli, PPoPP 2024): work
that draws ``own`` bytes per second while the other engines draw ``others`` takes ``slowdown`` times
as long. Nothing slows down until the total reaches the knee; beyond it the slowdown grows in
proportion to the excess. With a knee at the memory's bandwidth and a slope of 1 this is the fair
share of a saturated memory. PCCS's other two regions (hardly any traffic, and almost only traffic)
and the flat end of the normal one are left out: they need measurements that no board file has.
docs/contention.md says more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeweave.partition.errors import PartitionError

SHARED_MEMORY = "shared memory"

INFINITY = float("inf")


@dataclass(frozen=True)
class Contention:
    """The law's two parameters.

    ``knee_bytes_per_s`` is the total demand at which slowing down begins (PCCS's TBWDC), ``slope``
    the relative slowdown per relative excess over it. Raises PartitionError when the knee is not a
    bandwidth or the slope is negative.
    """

    knee_bytes_per_s: float
    slope: float = 1.0

    def __post_init__(self) -> None:
        if not self.knee_bytes_per_s > 0:
            raise PartitionError(
                "contention", f"a knee of {self.knee_bytes_per_s} bytes/s is not a bandwidth"
            )
        if not 0 <= self.slope < INFINITY:
            raise PartitionError("contention", f"a slope of {self.slope} is not a finite slowdown")

    def slowdown(self, own: float, others: float) -> float:
        """How many times as long the work takes; at least 1. Both demands in bytes per second.

        Work that draws nothing is not slowed down, nor is work that has the memory to itself: what
        it takes alone already holds what the memory can give to one engine.
        """
        if own <= 0 or others <= 0:
            return 1.0
        excess = own + others - max(own, self.knee_bytes_per_s)
        return 1.0 + self.slope * max(0.0, excess) / self.knee_bytes_per_s

    def paces(self, demands: Sequence[float]) -> list[float]:
        """How much of its work each of those that run together gets done per second (0 to 1)."""
        total = sum(demands)
        if total <= self.knee_bytes_per_s:
            return [1.0] * len(demands)
        return [1.0 / self.slowdown(own, total - own) for own in demands]


def memory_seconds(nbytes: float, bytes_per_s: float) -> float:
    """How long that many bytes take to pass the memory; raises PartitionError without bandwidth."""
    if nbytes == 0:
        return 0.0
    if not bytes_per_s > 0:
        raise PartitionError(
            "cost table",
            f"regions move {nbytes} bytes per frame but the memory bandwidth is "
            f"{bytes_per_s} bytes/s",
            "State the bandwidth of the memory that the engines share",
        )
    return nbytes / bytes_per_s


@dataclass(frozen=True)
class Traffic:
    """What one engine does per frame: seconds of work when alone, bytes through shared memory."""

    seconds: float
    nbytes: float


def contended_interval(
    engines: Sequence[Traffic], contention: Contention | None, bytes_per_s: float
) -> tuple[float, int | None]:
    """The least interval at which a full pipeline keeps up, and the engine that sets it.

    In a full pipeline every engine meets the mean traffic of the others: their bytes per frame over
    the interval. The interval is the least T such that each engine's work, slowed down by that
    traffic, ends within T and all bytes pass the memory within T. The engine is None when the
    memory sets the interval. ``bytes_per_s`` is the memory's bandwidth; 0 when nothing moves.
    Raises PartitionError when bytes move and there is no bandwidth.
    """
    total = sum(engine.nbytes for engine in engines)
    memory = memory_seconds(total, bytes_per_s)
    times = [
        engine.seconds
        if contention is None
        else _keeps_up(engine, total - engine.nbytes, contention)
        for engine in engines
    ]
    slowest = max(range(len(engines)), key=lambda e: times[e])
    return max(memory, times[slowest]), None if memory > times[slowest] else slowest


def _keeps_up(engine: Traffic, others: float, contention: Contention) -> float:
    """The least T with ``seconds * slowdown(own, others / T) <= T``.

    The slowed time falls as T grows, so there is one such T; where the law is above its knee it
    solves ``T^2 - a T - b = 0``.
    """
    seconds = engine.seconds
    if seconds <= 0 or engine.nbytes <= 0:
        return seconds
    own, knee = engine.nbytes / seconds, contention.knee_bytes_per_s
    if contention.slowdown(own, others / seconds) == 1.0:
        return seconds
    a = seconds * (1 + contention.slope * min(0.0, own / knee - 1))
    b = seconds * contention.slope * others / knee
    above = (a + math.sqrt(a * a + 4 * b)) / 2
    return max(seconds, above)
