"""The plans found so far, and the searches that add to them within a time limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from edgeweave.partition.bounds import simple_bound
from edgeweave.partition.cp_model import Task
from edgeweave.partition.cp_search import Outcome, Progress, search
from edgeweave.partition.evaluate import TOLERANCE, Schedule, schedule
from edgeweave.partition.improve import polish
from edgeweave.partition.path_bound import latency_bound
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import INFINITY, Problem
from edgeweave.partition.reduction import Reduction
from edgeweave.partition.staging import tidy

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
    searched: bool = False

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
        stop_below_s: float | None = None,
    ) -> float:
        """Search for the best plan within limits; returns a proven lower bound in seconds.

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
            start = self._polish(start, objective, limits, end - 0.8 * seconds)
        if end - perf_counter() < LEAST_SEARCH_S:
            return bound
        outcome = self._search(objective, limits, start, bound, end, stop_below_s)
        self._add(outcome, objective, limits, end)
        if outcome.exhausted and outcome.assignment is not None:
            self._tighten(outcome, objective, limits, end)
        return max(bound, outcome.bound_s)

    def _known_bound(self, objective: Objective) -> float:
        """What is proven without a search; infinite when too few stages are allowed."""
        problem = self.reduction.problem
        along_chains = latency_bound(problem, self.max_stages)
        if objective is Objective.INTERVAL and along_chains < INFINITY:
            return simple_bound(problem, objective)
        return max(along_chains, simple_bound(problem, objective))

    def _search(
        self,
        objective: Objective,
        limits: Limits,
        start: Schedule | None,
        bound: float,
        end: float,
        stop_below_s: float | None,
    ) -> Outcome:
        self.searched = True
        small = self.reduction.problem
        hint = None if start is None else self.reduction.shrink(start.assignment)
        return search(
            small,
            Task(objective, self.max_stages, limits.latency_s, limits.interval_s),
            self._horizon(objective, limits, start),
            end - perf_counter(),
            bound,
            hint,
            stop_below_s,
            self.progress,
        )

    def _add(self, outcome: Outcome, objective: Objective, limits: Limits, end: float) -> None:
        if outcome.assignment is None:
            return
        stages = tidy(self.problem, self.reduction.expand(outcome.assignment))
        plan = schedule(self.problem, stages)
        self.plans.append(plan)
        if limits.admit(plan):
            self._polish(plan, objective, limits, end)

    def _polish(self, plan: Schedule, objective: Objective, limits: Limits, end: float) -> Schedule:
        better = polish(self.problem, plan, objective, self.max_stages, limits.admit, end)
        if better is not plan:
            self.plans.append(better)
        return better

    def _tighten(self, outcome: Outcome, objective: Objective, limits: Limits, end: float) -> None:
        """Search again when the optimum of the rounded model is a hair outside the limits."""
        if self.best(objective, limits) is not None or end - perf_counter() < LEAST_SEARCH_S:
            return
        plan = self.plans[-1]
        over = max(
            value / limit - 1
            for value, limit in zip((plan.latency_s, plan.interval_s), limits.both, strict=True)
            if limit is not None and limit > 0
        )
        inner = Limits(*(None if x is None else x * (1 - 2 * over) for x in limits.both))
        self._add(self._search(objective, inner, None, 0.0, end, None), objective, limits, end)

    def _horizon(self, objective: Objective, limits: Limits, start: Schedule | None) -> float:
        """Seconds that the value of some plan within the limits, or any plan, does not exceed."""
        worst = max(_serial_worst(self.problem, self.max_stages), self.problem.memory_s)
        if objective is Objective.LATENCY:
            return worst if start is None else start.latency_s
        longest = worst if start is None else start.interval_s
        if limits.latency_s is not None:
            longest = max(longest, min(limits.latency_s * (1 + TOLERANCE), worst))
        return longest


def _serial_worst(problem: Problem, max_stages: int) -> float:
    work = sum(max(c for c in row if c < INFINITY) for row in problem.seconds)
    moved = 0.0
    for value, price in zip(problem.values, problem.price, strict=True):
        dearest = max((p for row in price for p in row if p < INFINITY), default=0.0)
        moved += dearest * min(len(value.consumers), max_stages)
    return work + moved + max_stages * max(problem.overhead)
