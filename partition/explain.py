"""Why each region is where it is, and what stands between a plan and what was asked."""

from __future__ import annotations

from collections import Counter

from edgeweave.partition.costs import Cost
from edgeweave.partition.evaluate import Schedule, schedule
from edgeweave.partition.improve import relocations
from edgeweave.partition.plan import Alternative, Certificate, Objective, Placement, Request
from edgeweave.partition.portfolio import Limits, within
from edgeweave.partition.problem import INFINITY, Problem
from edgeweave.targets.backend import Refusal

REASONS_SHOWN = 3


def placements(
    problem: Problem, plan: Schedule, objective: Objective, limits: Limits, max_stages: int
) -> tuple[Placement, ...]:
    """For every region its slot and stage, and what speaks against each other slot."""
    table = problem.table
    place = {r: (k, stage.slot) for k, stage in enumerate(plan.stages) for r in stage.regions}
    found = []
    for r, name in enumerate(table.regions):
        stage, slot = place[r]
        cost = table.costs[r][slot]
        if not isinstance(cost, Cost):
            raise ValueError(f"the plan puts {name} on a slot that refuses it")
        others = (s for s in range(problem.width) if s != slot)
        against = tuple(
            _alternative(problem, plan, r, s, objective, limits, max_stages) for s in others
        )
        found.append(Placement(name, table.slots[slot], stage, cost.seconds, cost.source, against))
    return tuple(found)


def _alternative(
    problem: Problem,
    plan: Schedule,
    region: int,
    slot: int,
    objective: Objective,
    limits: Limits,
    max_stages: int,
) -> Alternative:
    cost = problem.table.costs[region][slot]
    where = problem.table.slots[slot]
    if isinstance(cost, Refusal):
        return Alternative(where, "refused", cost.rule, cost.reason)
    legal = [
        schedule(problem, stages)
        for stages in relocations(problem, plan.assignment, region, slot)
        if len(stages) <= max_stages
    ]
    if not legal:
        return Alternative(where, "lost", "", _own_cost(problem, plan, region, slot, max_stages))
    admitted = [trial for trial in legal if limits.admit(trial)]
    best = min(admitted or legal, key=lambda trial: trial.value(objective))
    text = _difference(best.value(objective) - plan.value(objective), f"the {objective.value}")
    if not admitted:
        text += " and would break the limit that the plan keeps"
    return Alternative(where, "lost", "", text)


def _own_cost(problem: Problem, plan: Schedule, region: int, slot: int, max_stages: int) -> str:
    """Why no legal plan moves only this region, and what its own costs would be."""
    slot_of = {r: stage.slot for stage in plan.stages for r in stage.regions}
    here, there = (
        problem.seconds[region][s] + _border_price(problem, slot_of, region, s)
        for s in (slot_of[region], slot)
    )
    if there == INFINITY:
        return "no link carries its values there from where the others are"
    change = _difference(there - here, "the region's own time with its transfers")
    return f"moved alone it would need more than {max_stages} stages; it {change}"


def _border_price(problem: Problem, slot_of: dict[int, int], region: int, slot: int) -> float:
    """What handing over its inputs and outputs costs with the region on the slot."""
    total = 0.0
    for i in problem.inputs[region]:
        total += problem.price[i][slot_of[problem.values[i].producer]][slot]
    for i in problem.outputs[region]:
        readers = {slot_of[c] for c in problem.values[i].consumers}
        total += sum(problem.price[i][slot][b] for b in readers)
    return total


def _difference(seconds: float, of_what: str) -> str:
    if abs(seconds) < 5e-8:
        return f"would not change {of_what}"
    return f"would {'add' if seconds > 0 else 'save'} {_ms(abs(seconds))} ms on {of_what}"


def _ms(seconds: float) -> str:
    """Milliseconds with three significant digits, and at least one decimal digit."""
    value = seconds * 1e3
    return f"{value:.1f}" if value >= 100 else f"{value:.3g}"


def shortfall(
    problem: Problem, plan: Schedule, request: Request, certificate: Certificate
) -> tuple[str, ...]:
    """What would have to change for the request to be met, in sentences."""
    sentences = []
    wanted = (
        ("latency", Objective.LATENCY, plan.latency_s, request.budget_s, "budget"),
        ("interval", Objective.INTERVAL, plan.interval_s, request.max_interval_s, "limit"),
    )
    for name, objective, value, limit, word in wanted:
        if limit is None or within(value, limit):
            continue
        sentences.append(
            f"The best {name} found is {_ms(value)} ms, {_ms(value - limit)} ms over the {word} "
            f"of {_ms(limit)} ms."
        )
        if certificate.objective is objective:
            sentences += _proof(certificate, limit, word)
        sentences.append(_speedup(problem, plan, value, limit))
    return (*sentences, *idle_engines(problem, plan))


def _proof(certificate: Certificate, limit: float, word: str) -> list[str]:
    bound = certificate.bound_s
    text = f"No plan of this class ({certificate.scope}) can be below {_ms(bound)} ms" + (
        ": the result is optimal." if certificate.optimal else "."
    )
    advice = (
        f"The {word} would have to be at least {_ms(bound)} ms on this board."
        if bound > limit
        else f"The search did not prove the {word} out of reach: a longer time limit may find more."
    )
    return [text, advice]


def _speedup(problem: Problem, plan: Schedule, value: float, limit: float) -> str:
    """How much faster the busiest engine would have to be, the plan being kept."""
    engine = max(plan.engine_s, key=lambda name: plan.engine_s[name])
    busy = sum(
        problem.seconds[r][stage.slot]
        for stage in plan.stages
        if problem.table.slots[stage.slot].engine == engine
        for r in stage.regions
    )
    rest = busy - (value - limit)
    share = f"{engine} computes {_ms(busy)} ms of a frame"
    if rest <= 0:
        return f"{share}; with this plan no faster {engine} alone would be enough."
    return f"{share}; with this plan it would have to be {busy / rest:.2f} times as fast."


def idle_engines(problem: Problem, plan: Schedule) -> tuple[str, ...]:
    """For each engine the plan leaves idle: what its slots refuse, why, and how much work it is."""
    table = problem.table
    fastest = [min(row) for row in problem.seconds]
    sentences = []
    for name, busy in plan.engine_s.items():
        if busy > 0:
            continue
        slots = [s for s, slot in enumerate(table.slots) if slot.engine == name]
        reasons: Counter[str] = Counter()
        refused = 0.0
        for r, row in enumerate(table.costs):
            here = [row[s] for s in slots]
            words = {f"{c.reason} [{c.rule}]" for c in here if isinstance(c, Refusal)}
            if not any(isinstance(c, Cost) for c in here):
                refused += fastest[r]
                reasons.update(words)
        if not reasons:
            sentences.append(f"{name} stays idle in this plan although it refuses nothing.")
            continue
        share = refused / sum(fastest) if sum(fastest) > 0 else 1.0
        main = "; ".join(f"{text} ({n}x)" for text, n in reasons.most_common(REASONS_SHOWN))
        sentences.append(
            f"{name} stays idle: it refuses {share:.0%} of the model's work, mainly: {main}."
        )
    return tuple(sentences)
