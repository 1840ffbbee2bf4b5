"""Graphs of thousands of regions, as transformers and large detectors have them."""

from __future__ import annotations

from random import Random
from time import perf_counter

import pytest

from edgeweave.partition.costs import Cost, CostTable, Source, Transfer
from edgeweave.partition.evaluate import check
from edgeweave.partition.explain import placements
from edgeweave.partition.heuristics.baselines import baselines
from edgeweave.partition.heuristics.improve import polish
from edgeweave.partition.plan import Certificate, Objective, Request
from edgeweave.partition.portfolio import Limits
from edgeweave.partition.problem import Problem
from edgeweave.partition.relaxations import relaxations
from edgeweave.partition.search.bounds import simple_bound
from edgeweave.partition.search.path_bound import latency_bound
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

LINK = Transfer(5e-5, 1e-10, Source.GIVEN)
FREE = Transfer(0.0, 0.0, Source.GIVEN)


def big_table(size: int, width: int = 4, seed: int = 0) -> CostTable:
    """A chain of blocks with branches, residual edges and a few long skips.

    The first two slots take everything, the others refuse a tenth, in stretches as the kinds of
    layers come. The last two slots share an engine when there are five or more. Durations are those
    of a network of some milliseconds per hundred regions.
    """
    random = Random(seed)
    edges = _block_edges(size, random)
    costs = []
    stretches = [
        [random.random() < 0.1 for _ in range(size // 40 + 1)] if s > 1 else []
        for s in range(width)
    ]
    for r in range(size):
        work = random.lognormvariate(0.0, 1.0) * 3e-5
        row: list[Cost | Refusal] = [Cost(work * random.uniform(2.0, 4.0), Source.GIVEN)]
        for s in range(1, width):
            if s > 1 and stretches[s][r // 40]:
                row.append(Refusal("given.refused", f"slot {s} has no such operator"))
            else:
                row.append(Cost(work * random.lognormvariate(0.0, 0.6), Source.GIVEN))
        costs.append(tuple(row))
    engines = [f"e{min(s, width - 2) if width > 4 else s}" for s in range(width)]
    return CostTable(
        regions=tuple(f"r{r:05d}" for r in range(size)),
        slots=tuple(Slot(engine, f"b{s}") for s, engine in enumerate(engines)),
        costs=tuple(costs),
        values=tuple(
            Value(f"v{a}", a, tuple(sorted(readers)), random.choice((1, 4, 16)) << 14, False)
            for a, readers in enumerate(edges)
            if readers
        ),
        transfers=tuple(
            tuple(FREE if a == b else LINK for b in range(width)) for a in range(width)
        ),
        stage_overhead_s=(2e-5,) * width,
        dram_bytes=tuple(random.randrange(1 << 16) for _ in range(size)),
        dram_bytes_per_s=2e10,
    )


def _block_edges(size: int, random: Random) -> list[set[int]]:
    """For each region those that read from it; regions are in topological order."""
    readers: list[set[int]] = [set() for _ in range(size)]
    end, blocks = 0, [0]
    while end + 1 < size:
        start, branches = end, random.choice((1, 1, 2, 3))
        at, ends = start + 1, []
        for _ in range(branches):
            length = min(random.randrange(1, 6), size - 1 - at)
            before = start
            for r in range(at, at + max(0, length)):
                readers[before].add(r)
                before = r
            at += max(0, length)
            ends.append(before)
        end = min(at, size - 1)
        for before in (*ends, start):  # the residual edge goes round the block
            if before < end:
                readers[before].add(end)
        if random.random() < 0.1:
            readers[random.choice(blocks[-30:])].add(end)
        blocks.append(end)
    return readers


def _plan(problem, max_stages):
    found = baselines(problem, Request(Objective.INTERVAL, max_stages=max_stages))
    return min((b.schedule for b in found if b.schedule), key=lambda plan: plan.interval_s)


@pytest.mark.parametrize("width", [4, 6])
def test_two_thousand_regions_are_planned_polished_and_explained(width):
    table = big_table(2000, width)
    problem = Problem(table)
    plan = _plan(problem, 6)
    check(problem, plan.assignment)
    better = polish(problem, plan, Objective.INTERVAL, 8, lambda trial: True, perf_counter() + 20)
    check(problem, better.assignment)
    assert better.interval_s < plan.interval_s
    assert simple_bound(problem, Objective.INTERVAL) <= better.interval_s
    assert latency_bound(problem, 8) <= better.latency_s
    explained = placements(problem, better, Objective.INTERVAL, Limits(), 9)
    assert len(explained) == 2000
    verdicts = {a.verdict for placement in explained for a in placement.alternatives}
    assert verdicts == {"refused", "lost"}


def test_a_missed_budget_of_two_thousand_regions_is_explained_in_bounded_time():
    problem = Problem(big_table(2000))
    plan = _plan(problem, 4)
    request = Request(Objective.INTERVAL, max_interval_s=plan.interval_s / 1.5, max_stages=4)
    certificate = Certificate(Objective.INTERVAL, plan.interval_s, 0.0, False, "", "", 0.0)
    found = relaxations(problem, plan, request, certificate, seconds=0.5)
    assert {"budget", "engine"} <= {relaxation.kind for relaxation in found}


def test_the_graph_is_of_the_shape_that_is_meant():
    problem = Problem(big_table(500))
    refused = sum(isinstance(c, Refusal) for row in problem.table.costs for c in row)
    assert 0.01 < refused / (500 * 4) < 0.2
    skips = [b - a for a, b in problem.edges]
    assert max(skips) > 20
    assert len(skips) > 1.1 * 500
