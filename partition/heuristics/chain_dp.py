"""Cutting one topological order into contiguous stages, by dynamic programming.

Exact on a chain. On other graphs the values that cross a cut are all charged to the stage behind
it, so the result is a candidate that ``evaluate`` puts a number on, not an optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.heuristics.staging import Stages, segments
from edgeweave.partition.problem import Problem

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

WORK_LIMIT = 150_000_000
"""Cells the interval DP may visit (about a second); beyond it fewer cut positions are tried."""


@dataclass(frozen=True)
class Chain:
    """A topological order with its prefix sums: ``work[s][j]`` is the cost of the first j regions.

    ``last_refusal[s][j]`` is the largest i <= j such that region i-1 of the order is refused by the
    slot (0 when none). ``crossing[i][a][b]`` is the price (sending
    included) of all values live between i-1 and i.
    """

    order: tuple[int, ...]
    work: tuple[tuple[float, ...], ...]
    last_refusal: tuple[tuple[int, ...], ...]
    crossing: Floats


def make_chain(problem: Problem, order: Sequence[int]) -> Chain:
    """Prefix sums and crossing prices of a topological order."""
    work, last = [], []
    for s in range(problem.width):
        costs = [problem.seconds[r][s] for r in order]
        work.append((0.0, *accumulate(0.0 if c == INFINITY else c for c in costs)))
        marks = (i if c == INFINITY else 0 for i, c in enumerate(costs, start=1))
        last.append((0, *accumulate(marks, max)))
    return Chain(tuple(order), tuple(work), tuple(last), _crossing(problem, order))


def _crossing(problem: Problem, order: Sequence[int]) -> Floats:
    import numpy as np

    position = {region: i for i, region in enumerate(order)}
    known: dict[tuple[int, int], Floats] = {}  # equal prices are one object
    crossing = np.zeros((len(order), problem.width, problem.width))
    for i, value in enumerate(problem.values):
        key = id(problem.price[i]), id(problem.send[i])
        if key not in known:
            known[key] = np.array(problem.price[i]) + np.array(problem.send[i])
        made, places = position[value.producer], [position[c] for c in value.consumers]
        crossing[made + 1 : max(places) + 1] += known[key]
        # What a feedback value brings to an earlier region goes from the stage behind the cut.
        crossing[min(places) + 1 : made + 1] += known[key].T
    return crossing


def best_latency(
    problem: Problem, chain: Chain, slots: Sequence[int], max_stages: int
) -> Stages | None:
    """The cut with the least sum of stage times; None when the refusals allow none."""
    import numpy as np

    slots = list(slots)
    n, width = len(chain.order), len(slots)
    if not width:
        return None
    crossing = chain.crossing[:, slots][:, :, slots].copy()
    crossing[:, range(width), range(width)] = INFINITY  # the next stage is on another slot
    overhead = np.array(problem.overhead)[slots]
    work, last = (np.array([rows[s] for s in slots]).T for rows in (chain.work, chain.last_refusal))
    # best[k, s]: the cheapest cut of the regions so far into k + 1 stages, the last on slot s;
    # base[k, s]: the start of that stage less the work before it; opened: the cut it begins at.
    best = np.full((max_stages, width), INFINITY)
    base = np.full((max_stages, width), INFINITY)
    start = np.full((max_stages, width), INFINITY)
    opened = np.zeros((n + 1, max_stages, width), dtype=np.int32)
    source = np.zeros((n, max_stages, width), dtype=np.int32)
    for j in range(1, n + 1):
        start[0] = overhead if j == 1 else INFINITY
        entries = best[:-1, :, None] + crossing[j - 1]
        source[j - 1, 1:] = entries.argmin(axis=1)
        start[1:] = entries.min(axis=1) + overhead
        fresh = start - work[j - 1]
        better = fresh < base
        base = np.where(better, fresh, base)
        opened[j] = np.where(better, j - 1, opened[j - 1])
        base[:, last[j] == j] = INFINITY
        best = base + work[j]
    count, slot = (int(x) for x in np.unravel_index(best.argmin(), best.shape))
    if not best[count, slot] < INFINITY:
        return None
    cuts, end = [], n
    while True:
        cut = int(opened[end, count, slot])
        cuts.append((slots[slot], cut))
        if count == 0:
            return segments(chain.order, cuts[::-1])
        slot, count, end = int(source[cut, count, slot]), count - 1, cut


def best_interval(problem: Problem, chain: Chain, max_stages: int) -> Stages | None:
    """The cut with the least longest stage, each engine used at most once (PipeDream).

    Narayanan et al., SOSP 2019, section 3.1, without replication and with engines that differ.
    """
    import numpy as np

    width, masks = problem.width, 1 << len(problem.engines)
    cuts = _cut_positions(problem, chain, masks * width * width)
    work = np.array(chain.work)[:, cuts]
    last = np.array(chain.last_refusal)[:, cuts]
    crossing = chain.crossing[cuts[:-1]]
    positions = np.array(cuts)
    m = len(cuts)
    # stage[s][i, j]: the stage from cut i to cut j without its transfers
    stage = work[:, None, :] - work[:, :, None] + np.array(problem.overhead)[:, None, None]
    stage[last[:, None, :] > positions[None, :, None]] = np.inf
    stage[:, np.tril_indices(m)[0], np.tril_indices(m)[1]] = np.inf
    value = np.full((masks, width, m), np.inf)
    parent: dict[tuple[int, int, int], tuple[int, int, int] | None] = {}
    for s in range(width):
        mask = 1 << problem.engine_of[s]
        value[mask, s] = stage[s][0]
        parent.update({(mask, s, j): None for j in range(m)})
    for mask in sorted(range(1, masks), key=int.bit_count):
        if mask.bit_count() >= max_stages:
            break
        for a in range(width):
            if not np.isfinite(value[mask, a]).any():
                continue
            for s in range(width):
                if mask >> problem.engine_of[s] & 1:
                    continue
                received = crossing[:, a, s][:, None] + stage[s][:-1]
                longest = np.maximum(value[mask, a][:-1, None], received)
                came_from = longest.argmin(axis=0)
                reached = longest[came_from, np.arange(m)]
                target = mask | 1 << problem.engine_of[s]
                for j in np.flatnonzero(reached < value[target, s]):
                    value[target, s, j] = reached[j]
                    parent[target, s, int(j)] = (mask, a, int(came_from[j]))
    ends = value[:, :, -1]
    mask, s = (int(x) for x in np.unravel_index(ends.argmin(), ends.shape))
    if not np.isfinite(ends[mask, s]):
        return None
    found: list[tuple[int, int]] = []
    state: tuple[int, int, int] | None = (mask, s, m - 1)
    while state is not None:
        before = parent[state]
        found.append((state[1], 0 if before is None else cuts[before[2]]))
        state = before
    return segments(chain.order, found[::-1])


def _cut_positions(problem: Problem, chain: Chain, states: int) -> list[int]:
    """All cut positions, or as many as the work limit allows, spread evenly over the work."""
    n = len(chain.order)
    most = max(8, int((WORK_LIMIT / states) ** 0.5))
    if n + 1 <= most:
        return list(range(n + 1))
    cheapest = [min(problem.seconds[r]) for r in chain.order]
    done = list(accumulate(cheapest))
    step = done[-1] / (most - 1)
    chosen = {0, n}
    target = step
    for i, reached in enumerate(done, start=1):
        if reached >= target:
            chosen.add(i)
            target = reached + step
    return sorted(chosen)
