"""Cutting one topological order into contiguous stages, by dynamic programming.

Exact on a chain. On other graphs the values that cross a cut are all charged to the stage behind
it, so the result is a candidate that ``evaluate`` puts a number on, not an optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from edgeweave.partition.problem import INFINITY, Problem
from edgeweave.partition.staging import Cut, Stages, segments

WORK_LIMIT = 150_000_000
"""Cells the interval DP may visit (about a second); beyond it fewer cut positions are tried."""


@dataclass(frozen=True)
class Chain:
    """A topological order with its prefix sums: ``work[s][j]`` is the cost of the first j regions.

    ``last_refusal[s][j]`` is the largest i <= j such that region i-1 of the order is refused by the
    slot (0 when none). ``crossing[i][a][b]`` is the price of all values live between i-1 and i.
    """

    order: tuple[int, ...]
    work: tuple[tuple[float, ...], ...]
    last_refusal: tuple[tuple[int, ...], ...]
    crossing: tuple[tuple[tuple[float, ...], ...], ...]


def make_chain(problem: Problem, order: Sequence[int]) -> Chain:
    """Prefix sums and crossing prices of a topological order."""
    work, last = [], []
    for s in range(problem.width):
        costs = [problem.seconds[r][s] for r in order]
        work.append((0.0, *accumulate(0.0 if c == INFINITY else c for c in costs)))
        marks = (i if c == INFINITY else 0 for i, c in enumerate(costs, start=1))
        last.append((0, *accumulate(marks, max)))
    return Chain(tuple(order), tuple(work), tuple(last), _crossing(problem, order))


def _crossing(problem: Problem, order: Sequence[int]) -> tuple[tuple[tuple[float, ...], ...], ...]:
    width = range(problem.width)
    position = {region: i for i, region in enumerate(order)}
    opens: list[list[int]] = [[] for _ in range(len(order) + 1)]
    closes: list[list[int]] = [[] for _ in range(len(order) + 1)]
    for i, value in enumerate(problem.values):
        opens[position[value.producer] + 1].append(i)
        closes[max(position[c] for c in value.consumers) + 1].append(i)
    live: set[int] = set()
    rows = []
    for cut in range(len(order)):
        live.difference_update(closes[cut])
        live.update(opens[cut])
        rows.append(
            tuple(tuple(sum(problem.price[i][a][b] for i in live) for b in width) for a in width)
        )
    return tuple(rows)


def best_latency(
    problem: Problem, chain: Chain, slots: Sequence[int], max_stages: int
) -> Stages | None:
    """The cut with the least sum of stage times; None when the refusals allow none."""
    n = len(chain.order)
    # best[j][s]: cheapest cut of the first j regions whose last stage is on s, and its cuts.
    empty: Cut = (INFINITY, ())
    best = [dict.fromkeys(slots, empty) for _ in range(n + 1)]
    answer = empty
    for count in range(max_stages):
        new = [dict.fromkeys(slots, empty) for _ in range(n + 1)]
        for s in slots:
            base, opened = INFINITY, empty  # the best start of the stage that is open
            for j in range(1, n + 1):
                start = _enter(problem, chain, best, j - 1, s, first=count == 0)
                if start[0] - chain.work[s][j - 1] < base:
                    base, opened = start[0] - chain.work[s][j - 1], start
                if chain.last_refusal[s][j] == j:
                    base = INFINITY
                if base < INFINITY:
                    new[j][s] = (base + chain.work[s][j], opened[1])
        best = new
        answer = min(answer, *best[n].values(), key=lambda entry: entry[0])
    return segments(chain.order, answer[1]) if answer[0] < INFINITY else None


def _enter(
    problem: Problem,
    chain: Chain,
    best: list[dict[int, Cut]],
    cut: int,
    slot: int,
    *,
    first: bool,
) -> Cut:
    """The cheapest way to open a stage on the slot at the cut."""
    if first:
        return (problem.overhead[slot], ((slot, 0),)) if cut == 0 else (INFINITY, ())
    cost, cuts = min(
        ((c + chain.crossing[cut][a][slot], p) for a, (c, p) in best[cut].items() if a != slot),
        key=lambda entry: entry[0],
        default=(INFINITY, ()),
    )
    return cost + problem.overhead[slot], (*cuts, (slot, cut))


def best_interval(problem: Problem, chain: Chain, max_stages: int) -> Stages | None:
    """The cut with the least longest stage, each engine used at most once (PipeDream).

    Narayanan et al., SOSP 2019, section 3.1, without replication and with engines that differ.
    """
    import numpy as np

    width, masks = problem.width, 1 << len(problem.engines)
    cuts = _cut_positions(problem, chain, masks * width * width)
    work = np.array(chain.work)[:, cuts]
    last = np.array(chain.last_refusal)[:, cuts]
    crossing = np.array([chain.crossing[c] for c in cuts[:-1]])
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
