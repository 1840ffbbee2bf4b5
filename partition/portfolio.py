"""The plans found so far, and the searches that add to them within a time limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import TOLERANCE, Schedule, broken_constraint, schedule
from edgeweave.partition.heuristics.improve import polish
from edgeweave.partition.heuristics.staging import Stages, tidy
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import serial_worst, simple_bound
from edgeweave.partition.search.cp_model import Task
from edgeweave.partition.search.cp_search import Outcome, Progress, search
from edgeweave.partition.search.cut_bound import cut_latency_bound
from edgeweave.partition.search.decomposition import decompose
from edgeweave.partition.search.enumeration import Enumeration
from edgeweave.partition.search.path_bound import latency_bound
from edgeweave.partition.search.reduction import Reduction, same_in_other_orders

PROVEN = 1e-6
"""Relative gap that counts as optimal: what rounding costs to whole units can leave."""

MOST_ORDERS = 100
"""Orders of the same stages that are forbidden along with a plan."""

MOST_ENUMERATED = 14
"""Regions up to which all plans are tried where no model knows what a plan takes."""

ENUMERATION_SHARE = 0.5
"""Part of a search's time for trying all plans before a model is searched."""

FEW_CELLS = 600
"""Regions x slots x stages up to which CP-SAT alone is the quickest way to a proof."""

MOST_CELLS = 16_000
"""Regions x slots x stages up to which CP-SAT finds anything within a minute."""

DECOMPOSITION_SHARE = 0.6
"""Part of the time for taking the graph apart, where CP-SAT may follow."""

LEAST_SEARCH_S = 0.02
"""With less time than this left, building the model would take all of it."""


@dataclass(frozen=True)
class Limits:
    """Upper limits on latency and interval, in seconds; None: no limit."""

    latency_s: float | None = None
    interval_s: float | None = None

    @property
    def both(self) -> tuple[float | None, float | None]:
        """Limit on latency, limit on interval."""
        return self.latency_s, self.interval_s

    def also(self, objective: Objective, limit: float) -> Limits:
        """These limits, with one on latency or interval."""
        if objective is Objective.LATENCY:
            return Limits(limit, self.interval_s)
        return Limits(self.latency_s, limit)

    def admit(self, plan: Schedule) -> bool:
        """Whether the plan keeps both limits."""
        return within(plan.latency_s, self.latency_s) and within(plan.interval_s, self.interval_s)


def within(value: float, limit: float | None) -> bool:
    """Whether a duration keeps a limit, up to the tolerance of all comparisons."""
    return limit is None or value <= limit * (1 + TOLERANCE)


@dataclass
class Portfolio:
    """Plans by any method on one problem; ``deadline`` is in the clock of ``perf_counter``."""

    problem: Problem
    reduction: Reduction
    max_stages: int
    deadline: float
    progress: Progress | None
    plans: list[Schedule] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    @property
    def method(self) -> str:
        """What proved the bound, in the order it was tried."""
        return " + ".join(dict.fromkeys(self.methods)) or "bounds from costs"

    @property
    def seconds_left(self) -> float:
        """Time until the deadline; negative when it has passed."""
        return self.deadline - perf_counter()

    def best(self, objective: Objective, limits: Limits) -> Schedule | None:
        """The best plan within the limits; of equals the one with less latency, then stages."""
        admitted = [plan for plan in self.plans if limits.admit(plan)]
        if not admitted:
            return None
        least = min(plan.value(objective) for plan in admitted)
        equals = [p for p in admitted if p.value(objective) <= least * (1 + TOLERANCE)]
        return min(equals, key=lambda p: (p.latency_s, p.interval_s, len(p.stages)))

    def minimise(
        self,
        objective: Objective,
        limits: Limits,
        seconds: float,
        stop_below: float | None = None,
    ) -> float:
        """Search for the best plan within limits; returns a proven lower bound on the objective.

        The bound holds for all plans within the limits; it is infinite when there is none.
        """
        bound = self._known_bound(objective)
        end = perf_counter() + seconds
        start = self.best(objective, limits)
        if bound == INFINITY:
            return bound
        if start is not None:
            if start.value(objective) <= bound * (1 + TOLERANCE):
                return bound
            self._polish(start, objective, limits, end - 0.8 * seconds)
        if end - perf_counter() < LEAST_SEARCH_S:
            return bound
        if self._try_all(objective, limits, end - (1 - ENUMERATION_SHARE) * seconds):
            best = self.best(objective, limits)
            return INFINITY if best is None else best.value(objective)
        small = self.reduction.problem
        cells = small.size * small.width * self.max_stages
        if cells > FEW_CELLS and not self._is_proven(objective, limits, bound):
            share = DECOMPOSITION_SHARE if cells <= MOST_CELLS else 1.0
            bound = self._decompose(objective, limits, bound, end - (1 - share) * seconds)
        if cells > MOST_CELLS or self._is_proven(objective, limits, bound):
            return bound
        return self._search(objective, limits, bound, end, stop_below)

    def _is_proven(self, objective: Objective, limits: Limits, bound: float) -> bool:
        best = self.best(objective, limits)
        return best is not None and bound >= best.value(objective) * (1 - PROVEN)

    def _decompose(
        self, objective: Objective, limits: Limits, bound: float, deadline: float
    ) -> float:
        """Search the graph piece by piece; returns the bound that is proven then."""
        self.methods.append("decomposition")

        def value() -> float:
            best = self.best(objective, limits)
            return INFINITY if best is None else best.value(objective)

        def offer(found: Stages) -> float:
            self._offer(found, objective, limits, deadline)
            return value()

        proven = decompose(
            self.reduction.problem, objective, self.max_stages, value(), deadline, offer
        )
        return max(bound, min(proven, value()))

    def _offer(self, found: Stages, objective: Objective, limits: Limits, deadline: float) -> None:
        """Add a plan in the slots of the reduced problem, if it is a valid one, and polish it."""
        stages = self.reduction.expand(found)
        if len(stages) > self.max_stages or broken_constraint(self.problem, stages) is not None:
            return
        plan = schedule(self.problem, tidy(self.problem, stages))
        if plan.latency_s == INFINITY:  # some value has no link
            return
        self.plans.append(plan)
        if limits.admit(plan) and self.best(objective, limits) is plan:
            self._polish(plan, objective, limits, deadline)

    def _try_all(self, objective: Objective, limits: Limits, deadline: float) -> bool:
        """Whether every plan was looked at; tried where engines slow each other down."""
        small = self.reduction.problem
        if small.table.contention is None or small.size > MOST_ENUMERATED:
            return False
        best = self.best(objective, limits)
        value = INFINITY if best is None else best.value(objective)
        all_plans = Enumeration(small, objective, self.max_stages, limits.both, value, deadline)
        complete = all_plans.run()
        if complete:
            self.methods.append("enumeration")
        if all_plans.best is not None:
            stages = tidy(self.problem, self.reduction.expand(all_plans.best))
            self.plans.append(schedule(self.problem, stages))
        return complete

    def admits(self, limits: Limits, plan: Schedule) -> bool:
        """Whether a plan keeps the limits and what else the table restricts plans by."""
        return limits.admit(plan) and broken_constraint(self.problem, plan.assignment) is None

    def _known_bound(self, objective: Objective) -> float:
        """What is proven without a search; infinite when too few stages are allowed."""
        problem = self.reduction.problem
        along_chains = latency_bound(problem, self.max_stages)
        if objective is not Objective.LATENCY and along_chains < INFINITY:
            return simple_bound(problem, objective)
        between_cuts = cut_latency_bound(problem, self.max_stages)
        return max(along_chains, between_cuts, simple_bound(problem, objective))

    def _search(
        self,
        objective: Objective,
        limits: Limits,
        bound: float,
        end: float,
        stop_below: float | None,
    ) -> float:
        """Search with CP-SAT until its bound is met; returns the bound that is proven.

        The model leaves out how stages slow each other down in one frame, and has costs rounded
        down. Where that makes the best plan of the model miss its value or a limit, the plan is
        forbidden and the search goes on: the next bound holds for all plans but the known ones.
        """
        self.methods.append("CP-SAT")
        forbidden: tuple[Stages, ...] = ()
        at_s = INFINITY  # first without contention: what that proves is found soonest
        while True:
            start = self.best(objective, limits)
            outcome = self._search_once(
                objective, limits, at_s, forbidden, start, bound, end, stop_below
            )
            plan = self._add(outcome, objective, limits, end)
            best = self.best(objective, limits)
            value = INFINITY if best is None else best.value(objective)
            if (
                outcome.bound == INFINITY
                and start is not None
                and not self._is_among(forbidden, start)
            ):
                return bound  # a known plan says otherwise: such a proof is none
            bound = max(bound, min(outcome.bound, value))
            if plan is None or outcome.assignment is None or bound >= value * (1 - PROVEN):
                return bound
            if stop_below is not None and within(value, stop_below):
                return bound
            if end - perf_counter() < LEAST_SEARCH_S:
                return bound
            admitted = limits.admit(plan)
            if admitted and self.problem.table.contention is None:
                return bound
            if admitted and objective is Objective.INTERVAL and value < at_s * (1 - TOLERANCE):
                at_s = value  # the next search has the traffic of a shorter interval
                continue
            forbidden += tuple(
                same_in_other_orders(self.reduction.problem, outcome.assignment, MOST_ORDERS)
            )

    def _is_among(self, forbidden: tuple[Stages, ...], plan: Schedule) -> bool:
        small = self.reduction.shrink(plan.assignment)
        return {(s, frozenset(r)) for s, r in small} in (
            {(s, frozenset(r)) for s, r in stages} for stages in forbidden
        )

    def _search_once(
        self,
        objective: Objective,
        limits: Limits,
        at_s: float,
        forbidden: tuple[Stages, ...],
        start: Schedule | None,
        bound: float,
        end: float,
        stop_below: float | None,
    ) -> Outcome:
        small = self.reduction.problem
        hint = None if start is None else self.reduction.shrink(start.assignment)
        task = Task(
            objective, self.max_stages, limits.latency_s, limits.interval_s, at_s, forbidden
        )
        return search(
            small,
            task,
            self._horizon(objective, limits, start),
            end - perf_counter(),
            bound,
            hint,
            stop_below,
            self.progress,
        )

    def _add(
        self, outcome: Outcome, objective: Objective, limits: Limits, end: float
    ) -> Schedule | None:
        """The plan that was found, after adding it and what small changes make of it."""
        if outcome.assignment is None:
            return None
        stages = tidy(self.problem, self.reduction.expand(outcome.assignment))
        plan = schedule(self.problem, stages)
        self.plans.append(plan)
        if limits.admit(plan) and self.best(objective, limits) is plan:
            self._polish(plan, objective, limits, end)
        return plan

    def _polish(self, plan: Schedule, objective: Objective, limits: Limits, end: float) -> None:
        def allowed(trial: Schedule) -> bool:
            return self.admits(limits, trial)

        better = polish(self.problem, plan, objective, self.max_stages, allowed, end)
        if better is not plan:
            self.plans.append(better)

    def _horizon(self, objective: Objective, limits: Limits, start: Schedule | None) -> float:
        """What the value of some plan within the limits, or any plan, does not exceed."""
        worst = max(serial_worst(self.problem, self.max_stages), self.problem.memory_s)
        if objective is Objective.ENERGY:
            watts = max(power or 0.0 for power in self.problem.power)
            return worst * watts if start is None else start.value(objective)
        if objective is Objective.LATENCY:
            return worst if start is None else start.latency_s
        longest = worst if start is None else start.interval_s
        if limits.latency_s is not None:
            longest = max(longest, min(limits.latency_s * (1 + TOLERANCE), worst))
        return longest
