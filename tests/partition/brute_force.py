"""Every plan of a small table with its numbers, by arithmetic of its own.

Nothing here calls what it is compared with: only the table's fields are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import NamedTuple

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import Cost, CostTable, Transfer

Plan = tuple[Sequence[int], Sequence[int]]  # the stage of each region, the slot of each stage


class Numbers(NamedTuple):
    latency: float
    interval: float
    energy: float | None


def every_plan(table: CostTable, max_stages: int) -> list[Numbers]:
    """All that are valid, of at most so many stages."""
    n, width = len(table.regions), len(table.slots)
    edges = ordering(table)
    found = []
    for stage_of in product(range(max_stages), repeat=n):
        if set(stage_of) != set(range(max(stage_of) + 1)):
            continue
        if any(stage_of[a] > stage_of[b] for a, b in edges):
            continue
        for slots in product(range(width), repeat=max(stage_of) + 1):
            numbers = numbers_of(table, stage_of, slots)
            if numbers is not None:
                found.append(numbers)
    return found


def every_chain(table: CostTable, max_stages: int, most: int) -> list[Numbers] | None:
    """All in which no slot has two stages, along chains of ideals; None when there are more."""
    n, width = len(table.regions), len(table.slots)
    found = []
    for stage_of in cuts(n, ordering(table), max_stages):
        for slots in permutations(range(width), max(stage_of) + 1):
            numbers = numbers_of(table, stage_of, slots)
            if numbers is not None:
                found.append(numbers)
            if len(found) > most:
                return None
    return found


def cuts(n: int, edges: set[tuple[int, int]], max_stages: int) -> Iterator[list[int]]:
    """The stage of each region, for all that no edge runs back in; no stage is empty."""
    before = [[a for a, b in edges if b == r] for r in range(n)]
    stage_of = [0] * n

    def place(region: int) -> Iterator[list[int]]:
        if region == n:
            if set(stage_of) == set(range(max(stage_of) + 1)):
                yield list(stage_of)
            return
        for stage in range(max((stage_of[a] for a in before[region]), default=0), max_stages):
            stage_of[region] = stage
            yield from place(region + 1)

    return place(0)


def ordering(table: CostTable) -> set[tuple[int, int]]:
    return {
        (value.producer, reader)
        for value in table.values
        if value.producer is not None and not value.feedback
        for reader in value.consumers
    }


def numbers_of(table: CostTable, stage_of: Sequence[int], slots: Sequence[int]) -> Numbers | None:
    """None when the plan is not valid."""
    if breaks(table, stage_of, slots):
        return None
    times = [table.stage_overhead_s[s] for s in slots]
    moved = [0] * len(slots)
    for region, stage in enumerate(stage_of):
        cost = table.costs[region][slots[stage]]
        if not isinstance(cost, Cost):
            return None
        times[stage] += cost.seconds
        moved[stage] += table.dram_bytes[region]
    needs: list[set[int]] = [set() for _ in slots]
    for i, value in enumerate(table.values):
        if value.producer is None:
            continue
        here = stage_of[value.producer]
        links = table.prices[i] if table.prices else None
        asked = [0.0]
        for stage in {stage_of[c] for c in value.consumers} - {here}:
            if not value.feedback:
                needs[stage].add(here)
            if slots[stage] == slots[here]:
                continue
            link: Transfer | None = (links or table.transfers)[slots[here]][slots[stage]]
            if link is None:
                return None
            times[stage] += link.fixed_s + value.nbytes * link.s_per_byte
            asked.append(link.send_fixed_s + value.nbytes * link.send_s_per_byte)
        times[here] += max(asked)
    engines = [table.slots[s].engine for s in slots]
    powers = [table.power_w[s] if table.power_w else None for s in slots]
    energy = None
    if all(w is not None for w in powers):
        energy = sum(w * t for w, t in zip(powers, times, strict=True) if w is not None)
    return Numbers(
        latency(times, moved, needs, engines, table.contention),
        interval(table, times, moved, engines),
        energy,
    )


def breaks(table: CostTable, stage_of: Sequence[int], slots: Sequence[int]) -> bool:
    engine_of = [table.slots[slots[stage]].engine for stage in stage_of]
    for e, name in enumerate(dict.fromkeys(slot.engine for slot in table.slots)):
        if table.capacity_bytes and table.capacity_bytes[e] is not None:
            pairs = zip(table.memory_bytes, engine_of, strict=True)
            if sum(b for b, engine in pairs if engine == name) > table.capacity_bytes[e]:
                return True
        most = table.engine_stages[e] if table.engine_stages else None
        if most is not None and [table.slots[s].engine for s in slots].count(name) > most:
            return True
    return any(engine_of[r] != engine_of[group[0]] for group in table.colocated for r in group)


def latency(
    times: Sequence[float],
    moved: Sequence[int],
    needs: Sequence[set[int]],
    engines: Sequence[str],
    law: Contention | None,
) -> float:
    """Moving on from one end of a stage to the next, each with the share of its work still open."""
    count = len(times)
    demand = [b / t if t > 0 else 0.0 for b, t in zip(moved, times, strict=True)]
    ended: dict[int, float] = {}
    share = [1.0] * count
    now = 0.0
    while len(ended) < count:
        running = []
        for k in range(count):
            behind = any(engines[i] == engines[k] and i not in ended for i in range(k))
            if k not in ended and not behind and needs[k] <= ended.keys():
                running.append(k)
        total = sum(demand[k] for k in running)
        open_s = {
            k: share[k] * times[k] * slower(law, demand[k], total - demand[k]) for k in running
        }
        step = min(open_s.values())
        now += step
        for k in running:
            if open_s[k] <= step * (1 + 1e-13):
                ended[k] = now
            else:
                share[k] *= 1 - step / open_s[k]
    return max(ended.values())


def slower(law: Contention | None, own: float, others: float) -> float:
    if law is None or own <= 0 or others <= 1e-9:
        return 1.0
    over = own + others - max(law.knee_bytes_per_s, own)
    return 1 + law.slope * max(0.0, over / law.knee_bytes_per_s)


def interval(
    table: CostTable, times: Sequence[float], moved: Sequence[int], engines: Sequence[str]
) -> float:
    """Bisection on the interval, until neighbouring floats."""
    total = sum(moved)
    low = total / table.dram_bytes_per_s if total else 0.0
    for name in set(engines):
        mine = [k for k, engine in enumerate(engines) if engine == name]
        busy = sum(times[k] for k in mine)
        low = max(low, busy)
        own = sum(moved[k] for k in mine)
        if table.contention is None or busy <= 0 or own == 0:
            continue

        def late(t: float, s: float = busy, b: int = own) -> bool:
            return s * slower(table.contention, b / s, (total - b) / t) > t

        if not late(low):
            continue
        high = 2 * low
        while late(high):
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if late(middle) else (low, middle)
        low = high
    return low
