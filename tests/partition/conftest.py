"""Cost tables for the tests: a builder for hand-made ones, a strategy for random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import strategies as st

from edgeweave.partition.costs import Cost, CostTable, Source, Transfer
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

Edges = Mapping[int, Sequence[int]]


def build_table(
    costs: Sequence[Sequence[float | None]],
    edges: Edges,
    *,
    engines: Sequence[str] | None = None,
    nbytes: int = 0,
    transfer: Sequence[Sequence[tuple[float, float] | None]] | None = None,
    overhead: Sequence[float] | None = None,
    dram_bytes: int = 0,
) -> CostTable:
    """A table; ``costs[r][s]`` None is a refusal, ``edges`` maps a producer to its readers.

    ``engines[s]`` is the engine of slot ``s`` (one each by default); slots of one engine differ in
    backend. ``transfer[a][b]`` is (fixed_s, s_per_byte), None no link; 0 by default.
    """
    width = len(costs[0])
    names = list(engines or [f"e{s}" for s in range(width)])
    slots = [Slot(name, f"b{names[:s].count(name)}") for s, name in enumerate(names)]
    prices = transfer or [[(0.0, 0.0)] * width for _ in range(width)]
    return CostTable(
        regions=tuple(f"r{r:03d}" for r in range(len(costs))),
        slots=tuple(slots),
        costs=tuple(
            tuple(
                Refusal(f"b{s}.op", f"slot {s} has no such operator")
                if c is None
                else Cost(c, Source.ROOFLINE)
                for s, c in enumerate(row)
            )
            for row in costs
        ),
        values=tuple(
            Value(f"v{a}", a, tuple(sorted(readers)), nbytes, is_output=False)
            for a, readers in sorted(edges.items())
            if readers
        ),
        transfers=tuple(
            tuple(None if p is None else Transfer(*p, Source.ROOFLINE) for p in row)
            for row in prices
        ),
        stage_overhead_s=tuple(overhead or [0.0] * width),
        dram_bytes=(dram_bytes,) * len(costs),
        dram_bytes_per_s=1e3 if dram_bytes else 0.0,
    )


@st.composite
def random_tables(draw: st.DrawFn, max_regions: int = 5) -> CostTable:
    """Small tables of every shape: shared engines, refusals, missing links, twins, no edges."""
    n = draw(st.integers(1, max_regions))
    width = draw(st.integers(1, 3))
    engines = draw(st.sampled_from([["a"], ["b"]]))
    for _ in range(width - 1):
        engines = [*engines, draw(st.sampled_from(["a", "b", "c"]))]
    seconds = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.5, 8.0])
    cost = st.one_of(seconds, seconds, seconds, st.none())
    costs = [[draw(cost) for _ in range(width)] for _ in range(n)]
    twins = width > 1 and draw(st.booleans())
    for row in costs:
        if twins:
            row[1] = row[0]
        if all(c is None for c in row):
            row[0] = row[min(1, width - 1)] = draw(seconds)
    edges: dict[int, list[int]] = {}
    for a in range(n):
        edges[a] = [b for b in range(a + 1, n) if draw(st.sampled_from([True, False, False]))]
    price = st.one_of(st.tuples(st.sampled_from([0.0, 0.5, 2.0]), st.just(0.25)), st.none())
    alike = draw(price) or (0.5, 0.25)
    free = draw(st.booleans())
    transfer = [
        [(0.0, 0.0) if a == b else (alike if free else draw(price)) for b in range(width)]
        for a in range(width)
    ]
    return build_table(
        costs,
        edges,
        engines=engines,
        nbytes=draw(st.integers(0, 8)),
        transfer=transfer,
        overhead=[draw(st.sampled_from([0.0, 0.5])) for _ in range(width)],
        dram_bytes=draw(st.sampled_from([0, 1, 1500])),
    )


@pytest.fixture(scope="session")
def make_table() -> Callable[..., CostTable]:
    return build_table


@pytest.fixture(scope="session")
def tables() -> Callable[..., st.SearchStrategy[CostTable]]:
    return random_tables
