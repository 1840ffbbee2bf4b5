"""Which plan of each model to take: all combinations of candidates, then new ones beside them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from time import perf_counter

from edgeweave.partition.evaluate import broken_constraint
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.several.joint import Assessment, Board, Candidate
from edgeweave.partition.several.joint_candidates import Pool, beside

_LEAST_SOLVE_S = 0.05


@dataclass(frozen=True)
class Choice:
    """A plan for each model, in the order of the request, and what they amount to together."""

    plans: tuple[Candidate, ...]
    assessment: Assessment


def choose(pool: Pool, start: Choice, deadline: float) -> tuple[Choice, bool]:
    """The best combination of the candidates, and whether all were ruled out or tried.

    Never worse than ``start``. ``deadline`` is in the clock of ``perf_counter``.
    """
    search = _Search(pool.board, _in_order(pool), start, deadline)
    search.extend([None] * len(pool.board.models), 0)
    return search.best, not search.is_late


def _in_order(pool: Pool) -> list[list[Candidate]]:
    """The candidates of each model, those that are best alone first."""
    board = pool.board
    ordered = []
    for m, candidates in enumerate(pool.plans):
        alone: list[Candidate | None] = [None] * len(board.models)

        def key(
            candidate: Candidate, m: int = m, alone: list[Candidate | None] = alone
        ) -> tuple[float, ...]:
            alone[m] = candidate
            return board.assess(alone).key

        ordered.append(sorted(candidates, key=key))
    return ordered


@dataclass
class _Search:
    """Branch and bound: models by priority, a branch per candidate.

    With every model placed the key only grows, so that a branch whose key is not below that of the
    best choice holds nothing better.
    """

    board: Board
    candidates: list[list[Candidate]]
    best: Choice
    deadline: float
    is_late: bool = field(default=False)

    def extend(self, plans: list[Candidate | None], placed: int) -> None:
        m = self.board.priorities[placed]
        for candidate in self.candidates[m]:
            if perf_counter() > self.deadline:
                self.is_late = True
            if self.is_late:
                break
            plans[m] = candidate
            found = self.board.assess(plans)
            if found.key >= self.best.assessment.key:
                continue
            complete = tuple(plan for plan in plans if plan is not None)
            if len(complete) == len(plans):
                self.best = Choice(complete, found)
            else:
                self.extend(plans, placed + 1)
        plans[m] = None


def improve(pool: Pool, start: Choice, deadline: float) -> Choice:
    """Change the plan of one model after another until nothing gets better.

    A model is planned anew for what the others leave of the engines, or one of its stages is cut in
    two: an engine is free for what is more urgent between them.
    """
    best = start
    while True:
        before = best
        for m in range(len(pool.board.models)):
            for find in (_beside, _cut):
                for candidate in find(pool, m, best, deadline):
                    trial = replaced(pool.board, best.plans, m, candidate)
                    if trial.assessment.key < best.assessment.key:
                        best = trial
        if best is before or perf_counter() > deadline:
            return best


def replaced(board: Board, plans: Sequence[Candidate], m: int, candidate: Candidate) -> Choice:
    """The same plans with another one for one of the models."""
    changed = (*plans[:m], candidate, *plans[m + 1 :])
    return Choice(changed, board.assess(changed))


def _beside(pool: Pool, m: int, choice: Choice, deadline: float) -> list[Candidate]:
    """New plans of one model, made for what the others leave of the engines."""
    table = beside(pool.board, m, choice.plans)
    if table is None:
        return []
    found = []
    for objective in (Objective.LATENCY, Objective.INTERVAL):
        left = deadline - perf_counter()
        if left < _LEAST_SOLVE_S:
            break
        limit = min(left, max(_LEAST_SOLVE_S, left / 4))
        request = Request(objective, max_stages=pool.max_stages, time_limit_s=limit)
        candidate = pool.solve(m, table, request, f"least {objective} beside the others")
        if candidate is not None:
            found.append(candidate)
    return found


def _cut(pool: Pool, m: int, choice: Choice, deadline: float) -> list[Candidate]:
    """The model's plan with one stage cut in two on its slot, near a half and the thirds."""
    problem, plan = pool.board.problems[m], choice.plans[m]
    stages = plan.schedule.assignment
    if len(stages) >= pool.max_stages:
        return []
    found = []
    for k, (slot, regions) in enumerate(stages):
        ordered = sorted(regions)
        done = list(accumulate(problem.seconds[r][slot] for r in ordered))
        # a region reads from regions before it only, so a cut of their order is a valid one
        cuts = {bisect_left(done, part * done[-1]) + 1 for part in (1 / 3, 1 / 2, 2 / 3)}
        for cut in sorted(cuts):
            if cut >= len(ordered) or perf_counter() > deadline:
                continue
            halves = ((slot, tuple(ordered[:cut])), (slot, tuple(ordered[cut:])))
            changed = (*stages[:k], *halves, *stages[k + 1 :])
            if broken_constraint(problem, changed) is None:
                found.append(pool.add(m, changed, f"{plan.origin}, a stage cut in two"))
    return found
