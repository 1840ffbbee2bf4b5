"""Cost tables for the tests: a builder for hand-made ones, a strategy for random ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import Cost, CostTable, Source, Transfer
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

_spec = importlib.util.spec_from_file_location(
    "brute_force", Path(__file__).with_name("brute_force.py")
)
assert _spec is not None
assert _spec.loader is not None
brute_force = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(brute_force)

Edges = Mapping[int, Sequence[int]]


def build_table(
    costs: Sequence[Sequence[float | None]],
    edges: Edges,
    *,
    engines: Sequence[str] | None = None,
    nbytes: int = 0,
    transfer: Sequence[Sequence[tuple[float, ...] | None]] | None = None,
    overhead: Sequence[float] | None = None,
    dram_bytes: int = 0,
    feedback: Edges | None = None,
    **optional: Any,
) -> CostTable:
    """A table; ``costs[r][s]`` None is a refusal, ``edges`` maps a producer to its readers.

    ``engines[s]`` is the engine of slot ``s`` (one each by default); slots of one engine differ in
    backend. ``transfer[a][b]`` is (fixed_s, s_per_byte) and perhaps the same for the sender, None
    no link; 0 by default. ``feedback`` are edges that order nothing. The rest is what a table may
    leave out, by its name.
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
        )
        + tuple(
            Value(f"f{a}", a, tuple(readers), nbytes, is_output=False, feedback=True)
            for a, readers in sorted((feedback or {}).items())
            if readers
        ),
        transfers=tuple(
            tuple(None if p is None else make_transfer(p) for p in row) for row in prices
        ),
        stage_overhead_s=tuple(overhead or [0.0] * width),
        dram_bytes=(dram_bytes,) * len(costs),
        dram_bytes_per_s=1e3 if dram_bytes else 0.0,
        **optional,
    )


def make_transfer(price: tuple[float, ...]) -> Transfer:
    """From (fixed_s, s_per_byte), or those and the same for the sender."""
    return Transfer(*price[:2], Source.ROOFLINE, *price[2:])


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


FEATURES = (
    "send", "prices", "feedback", "capacity", "stages", "colocated", "power", "contention"
)  # fmt: skip


@st.composite
def extended_tables(
    draw: st.DrawFn, max_regions: int = 4, features: Sequence[str] = FEATURES, at_least: int = 0
) -> CostTable:
    """Tables with some of what a table may leave out, at least so many of the features.

    From a seed, so that they are as large and as odd as they may be in most examples: what
    Hypothesis draws one by one is mostly small and equal, and then a bound proves it.
    """
    rng = Random(draw(st.integers(0, 2**32 - 1)))
    chosen = set(rng.sample(features, rng.randint(at_least, min(4, len(features)))))
    table = _dense_table(rng, rng.choice([max_regions, max_regions, max_regions - 1]))
    n, width, engines = len(table.regions), len(table.slots), len(table.engines)
    if "send" in chosen:
        rows = table.transfers
        table = replace(table, transfers=tuple(tuple(_sending(rng, x) for x in r) for r in rows))
    if "feedback" in chosen:
        table = replace(table, values=(*table.values, *_feedback(rng, n)))
    if "prices" in chosen:
        given = (rng.choice([None, _prices(rng, width)]) for _ in table.values)
        table = replace(table, prices=tuple(given))
    if "capacity" in chosen:
        memory = tuple(rng.randint(0, 4) for _ in range(n))
        room = [rng.choice([None, rng.randint(0, sum(memory))]) for _ in range(engines)]
        table = replace(table, memory_bytes=memory, capacity_bytes=tuple(room))
    if "stages" in chosen:
        most = tuple(rng.choice([None, 1, 1, 2]) for _ in range(engines))
        table = replace(table, engine_stages=most)
    if "colocated" in chosen:
        table = replace(table, colocated=(tuple(rng.sample(range(n), 2)),))
    if "power" in chosen:
        table = replace(table, power_w=tuple(rng.randint(0, 5) / 2 for _ in range(width)))
    if "contention" in chosen:
        table = replace(
            table,
            dram_bytes=tuple(rng.choice([0, 100, 700, 2000]) for _ in range(n)),
            dram_bytes_per_s=rng.choice([300.0, 1e4]),
            contention=Contention(rng.choice([60.0, 250.0, 400.0]), rng.choice([0.5, 1.0, 3.0])),
        )
    return table


def _dense_table(rng: Random, n: int) -> CostTable:
    """Every cost another one; two or three slots on one to three engines."""
    width = rng.choice([2, 3, 3])
    engines = [f"e{s}" for s in range(width)]
    if rng.random() < 0.3:
        engines[-1] = engines[0]
    costs = [[rng.choice([*range(1, 40), None]) for _ in range(width)] for _ in range(n)]
    seconds = [[None if c is None else c / 4 for c in row] for row in costs]
    if rng.random() < 0.3:
        seconds = [[row[0], row[0], *row[2:]] for row in seconds]
    for row in seconds:
        row[0] = row[0] or 5.0
    price = [(0.0, 0.0), (0.5, 0.0), (0.25, 0.25), (2.0, 0.5), None]
    return build_table(
        seconds,
        {a: [b for b in range(a + 1, n) if rng.random() < 0.45] for a in range(n)},
        engines=engines,
        nbytes=rng.randint(0, 6),
        transfer=[
            [(0.0, 0.0) if a == b else rng.choice(price) for b in range(width)]
            for a in range(width)
        ],
        overhead=[rng.choice([0.0, 0.3]) for _ in range(width)],
    )


def _sending(rng: Random, link: Transfer | None) -> Transfer | None:
    if link is None:
        return None
    seconds = rng.choice([0.0, 1.0, 2.5])
    return replace(link, send_fixed_s=seconds, send_s_per_byte=rng.choice([0.0, 0.125]))


def _feedback(rng: Random, n: int) -> tuple[Value, ...]:
    return tuple(
        Value(f"f{i}", rng.randrange(n), tuple(rng.sample(range(n), 2)), 4, False, feedback=True)
        for i in range(rng.randint(1, 2))
    )


def _prices(rng: Random, width: int) -> tuple[tuple[Transfer | None, ...], ...]:
    def link() -> Transfer | None:
        if rng.random() < 0.1:
            return None
        receive, send = rng.choice([0.0, 0.5, 3.0]), rng.choice([0.0, 0.5, 3.0])
        return make_transfer((receive, 0.0, send, 0.0))

    return tuple(tuple(link() for _ in range(width)) for _ in range(width))


@pytest.fixture(scope="session")
def make_table() -> Callable[..., CostTable]:
    return build_table


@pytest.fixture(scope="session")
def tables() -> Callable[..., st.SearchStrategy[CostTable]]:
    return random_tables


@pytest.fixture(scope="session")
def all_tables() -> Callable[..., st.SearchStrategy[CostTable]]:
    return extended_tables


@pytest.fixture(scope="session")
def every_plan() -> Callable[[CostTable, int], Any]:
    return brute_force.every_plan


@pytest.fixture(scope="session")
def every_chain() -> Callable[..., Any]:
    return brute_force.every_chain
