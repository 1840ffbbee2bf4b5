"""What stages pay to receive and to send values, in the integer program."""

from __future__ import annotations

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.search.cp_model import Part, PlacementModel


def add_transfers(p: PlacementModel) -> None:
    """A stage pays once for each value it reads from another slot; without a link it cannot."""
    for i, value in enumerate(p.problem.values):
        for s in range(p.problem.width):
            readers = [c for c in value.consumers if (c, s) in p.on]
            if not readers:
                continue
            for sources, price in _sources_by_price(p, i, s):
                if price == INFINITY:
                    for c in readers:
                        for a in sources:
                            p.model.add_at_most_one(p.on[c, s], p.on[value.producer, a])
            _add_payments(p, i, s, readers)


def _sources_by_price(
    p: PlacementModel, value: int, slot: int
) -> list[tuple[tuple[int, ...], float]]:
    groups: dict[float, list[int]] = {}
    for a in p.takers(p.problem.values[value].producer):
        if a != slot:
            groups.setdefault(p.problem.price[value][a][slot], []).append(a)
    return [(tuple(sources), price) for price, sources in groups.items()]


def _add_payments(p: PlacementModel, i: int, s: int, readers: list[int]) -> None:
    value = p.problem.values[i]
    priced = [
        (sources, price)
        for sources, price in _sources_by_price(p, i, s)
        if price < INFINITY and p.units(price) > 0
    ]
    if not priced:
        return
    paid = {a for sources, _ in priced for a in sources}
    unpaid = p.on_any(value.producer, [a for a in p.takers(value.producer) if a not in paid])
    # Nothing is handed to the first stage but what comes from an earlier frame.
    for k in range(0 if value.feedback else 1, p.task.max_stages):
        options = []
        for sources, price in priced:
            pay = p.model.new_bool_var(f"pay{i}_{k}_{s}_{sources[0]}")
            options.append((sources, pay))
            part = Part(pay, s, price, min(value.consumers), max(value.consumers))
            p.parts.append(part)
            p.stage_parts[k].append(part)
            made = p.on_any(value.producer, sources)
            for c in readers:
                p.model.add(pay >= p.at[c, k, s] + made - 1)
            p.model.add(pay <= p.slot[k][s])
        for c in readers:
            # Implied, but it is what makes the linear relaxation see the price of a border.
            p.model.add(sum(pay for _, pay in options) >= p.at[c, k, s] - unpaid)
        p.pays[i, k, s] = options


def add_sends(p: PlacementModel) -> None:
    """A stage pays once for each value that another slot reads: the most that any reader asks."""
    if not p.problem.sends:
        return
    for i, value in enumerate(p.problem.values):
        for a in p.takers(value.producer):
            asked = p.problem.send[i][a]
            levels = sorted({x for x in asked if x < INFINITY and p.units(x) > 0})
            below = 0.0
            for level in levels:
                slots = tuple(s for s, x in enumerate(asked) if level <= x < INFINITY)
                _add_send(p, i, a, slots, level - below)
                below = level


def _add_send(p: PlacementModel, i: int, a: int, slots: tuple[int, ...], seconds: float) -> None:
    value = p.problem.values[i]
    send = p.model.new_bool_var(f"send{i}_{a}_{slots[0]}")
    made = p.on[value.producer, a]
    for c in value.consumers:
        p.model.add(send >= made + p.on_any(c, slots) - 1)
    p.model.add_implication(send, made)
    p.sends.setdefault((i, a), []).append((slots, send))
    behind = value.producer + 1
    p.parts.append(Part(send, a, seconds, behind, behind))
    if not p.task.needs_schedule:
        return
    in_stages = []
    for k in p.stages:
        sent = p.model.new_bool_var(f"send{i}_{a}_{slots[0]}_{k}")
        p.model.add(sent >= p.at[value.producer, k, a] + send - 1)
        p.sends_in.setdefault((i, k, a), []).append(sent)
        p.stage_parts[k].append(Part(sent, a, seconds, behind, behind))
        in_stages.append(sent)
    p.model.add(sum(in_stages) == send)
