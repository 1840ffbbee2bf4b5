"""Why each region is where it is, and what stands between a plan and what was asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from edgeweave.partition.costs import INFINITY, Cost
from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.heuristics.improve import joins, splits
from edgeweave.partition.heuristics.incremental import Placed
from edgeweave.partition.plan import Alternative, Certificate, Objective, Placement, Request
from edgeweave.partition.portfolio import Limits, within
from edgeweave.partition.problem import Problem
from edgeweave.partition.relaxations import missed_limits, ms, relaxations
from edgeweave.targets.backend import Refusal

REASONS_SHOWN = 3


def placements(
    problem: Problem, plan: Schedule, objective: Objective, limits: Limits, max_stages: int
) -> tuple[Placement, ...]:
    """For every region its slot and stage, and what speaks against each other slot."""
    table = problem.table
    place = {r: (k, stage.slot) for k, stage in enumerate(plan.stages) for r in stage.regions}
    moves = _moves(problem, plan, objective, limits, max_stages)
    found = []
    for r, name in enumerate(table.regions):
        stage, slot = place[r]
        cost = table.costs[r][slot]
        if not isinstance(cost, Cost):
            raise ValueError(f"the plan puts {name} on a slot that refuses it")
        against = []
        for other, refusal in enumerate(table.costs[r]):
            where = table.slots[other]
            if isinstance(refusal, Refusal):
                against.append(Alternative(where, "refused", refusal.rule, refusal.reason))
            elif other != slot:
                move = moves.best.get((r, other))
                reason = moves.obstacle(r, other) if move is None else moves.difference(move)
                against.append(Alternative(where, "lost", "", reason))
        found.append(
            Placement(name, table.slots[slot], stage, cost.seconds, cost.source, tuple(against))
        )
    return tuple(found)


def _moves(
    problem: Problem, plan: Schedule, objective: Objective, limits: Limits, max_stages: int
) -> _Moves:
    """Try each region on each slot that takes it: in the stages there, and in one of its own."""
    state = Placed(problem, plan.assignment)
    moves = _Moves(state, plan.value(objective), objective, limits, max_stages)
    for region in range(problem.size):
        here = state.slot[state.stage_of[region]]
        for stage in list(joins(state, region)):
            if state.slot[stage] != here:
                moves.note(region, stage)
    for stage in state.used:
        here = state.slot[stage]
        for region, alone in splits(state, stage, max_stages):
            for slot, own in enumerate(alone):
                if slot != here:
                    moves.note(region, own)
    return moves


@dataclass
class _Moves:
    """The best legal way to move each region alone to each slot: its value, and if it is within
    the limits that the plan keeps. ``value`` is the plan's own.
    """

    state: Placed
    value: float
    objective: Objective
    limits: Limits
    max_stages: int
    best: dict[tuple[int, int], tuple[bool, float]] = field(default_factory=dict)

    def note(self, region: int, stage: int) -> None:
        """Try the region in the stage, and remember the outcome when it is the best so far."""
        slot = self.state.slot[stage]
        if self.state.problem.seconds[region][slot] == INFINITY:
            return
        found = self.state.tried(region, stage)
        if found is None:
            return
        latency, interval = self.limits.both
        breaks = not (within(found.latency_s, latency) and within(found.interval_s, interval))
        move = breaks, found.value(self.objective)
        self.best[region, slot] = min(move, self.best.get((region, slot), move))

    def difference(self, move: tuple[bool, float]) -> str:
        breaks, value = move
        what = f"the {self.objective.value}"
        if value == INFINITY or self.value == INFINITY:
            text = f"leaves {what} open: not every slot states its power"
        else:
            text = _difference(value - self.value, what, self.objective.unit)
        return text + (" and would break the limit that the plan keeps" if breaks else "")

    def obstacle(self, region: int, slot: int) -> str:
        """Why no legal plan moves only this region, and what its own costs would be."""
        state, problem = self.state, self.state.problem
        present = state.slot[state.stage_of[region]]
        here, there = (
            problem.seconds[region][s] + _border_price(state, region, s) for s in (present, slot)
        )
        if there == INFINITY:
            return "no link carries its values there from where the others are"
        change = _difference(there - here, "the region's own time with its transfers")
        broken = self._broken_limit(region, present, slot)
        if broken is not None:
            return f"{broken}; it {change}"
        return f"moved alone it would need more than {self.max_stages} stages; it {change}"

    def _broken_limit(self, region: int, present: int, slot: int) -> str | None:
        """What of an engine's limits or of a group would break with the region on the slot."""
        state, problem = self.state, self.state.problem
        old, new = problem.engine_of[present], problem.engine_of[slot]
        if old != new:
            for group in problem.table.colocated:
                other = next((r for r in group if r != region), region)
                if region in group:
                    name = problem.table.regions[other]
                    return f"would separate it from {name}, which it must share an engine with"
            kept = state.kept_bytes(new) + problem.memory_bytes[region]
            if kept > problem.capacity[new]:
                room = f"{_mib(kept)} of {_mib(problem.capacity[new])} MiB"
                return f"would break the memory of {problem.engines[new]} ({room})"
        for engine in (new, old):
            if state.stage_count(engine) >= problem.engine_stages[engine]:
                most = f"{problem.engine_stages[engine]:.0f}"
                return f"{problem.engines[engine]} already runs its most stages ({most})"
        return None


def _mib(nbytes: float) -> str:
    return f"{nbytes / (1 << 20):.3g}"


def _border_price(state: Placed, region: int, slot: int) -> float:
    """What handing over its inputs and outputs costs with the region on the slot, in seconds."""
    problem, total = state.problem, 0.0
    for i in problem.inputs[region]:
        source = state.slot[state.stage_of[problem.values[i].producer]]
        total += problem.price[i][source][slot]
    for i in problem.outputs[region]:
        readers = {state.slot[state.stage_of[c]] for c in problem.values[i].consumers}
        total += sum(problem.price[i][slot][b] for b in readers)
        total += max(problem.send[i][slot][b] for b in readers)
    return total


def _difference(change: float, of_what: str, unit: str = "s") -> str:
    if abs(change) < 5e-8:
        return f"would not change {of_what}"
    return f"would {'add' if change > 0 else 'save'} {ms(abs(change))} m{unit} on {of_what}"


def shortfall(
    problem: Problem, plan: Schedule, request: Request, certificate: Certificate
) -> tuple[str, ...]:
    """What would have to change for the request to be met, in sentences."""
    sentences = []
    for missed in missed_limits(plan, request):
        sentences.append(
            f"The best {missed.objective.value} found is {ms(missed.value)} ms, "
            f"{ms(missed.value - missed.limit)} ms over the {missed.word} of {ms(missed.limit)} ms."
        )
        if certificate.objective is missed.objective:
            end = ": the result is optimal." if certificate.optimal else "."
            sentences.append(
                f"No plan of this class ({certificate.scope}) can be below "
                f"{ms(certificate.bound)} ms{end}"
            )
    changes = relaxations(problem, plan, request, certificate)
    return (*sentences, *(change.text for change in changes), *idle_engines(problem, plan))


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
