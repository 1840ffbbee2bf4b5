"""Planning: from a cost table and a request to a plan with its proof."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from time import perf_counter

from edgeweave.partition.baselines import Candidate, baselines
from edgeweave.partition.costs import Cost, CostTable, Source
from edgeweave.partition.cp_search import Progress
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import Assignment, Schedule, check, schedule
from edgeweave.partition.explain import placements, shortfall
from edgeweave.partition.plan import Baseline, Certificate, Objective, Plan, Request, Stage
from edgeweave.partition.portfolio import Limits, Portfolio
from edgeweave.partition.problem import INFINITY, Problem, check_placeable
from edgeweave.partition.reduction import reduce_slots
from edgeweave.partition.staging import prefer_first_listed, tidy

PROVEN = 1e-6
"""Relative gap that counts as optimal: what rounding costs to whole units can leave."""

TIE_BREAK_SHARE = 0.25
"""Part of the time limit that may go into a lower latency at the same interval."""


@dataclass(frozen=True)
class Answer:
    """The plan that is returned, what it was optimised for, within which limits, how proven."""

    plan: Schedule
    objective: Objective
    limits: Limits
    bound_s: float


def solve(
    table: CostTable,
    request: Request,
    board: str,
    hint: Assignment | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The best plan for the request that is found in time, with a proven bound.

    Never worse than any of the baselines. ``hint`` is a placement to start from. When no plan
    meets the request the result is the one that comes closest and ``meets`` is False. Raises
    PartitionError when the request is malformed, a region has no slot, or no plan exists at all.
    """
    started = perf_counter()
    _check_request(request)
    check_placeable(table)
    problem = Problem(table)
    methods = baselines(problem, request)
    portfolio = Portfolio(
        problem,
        reduce_slots(problem),
        request.max_stages,
        started + request.time_limit_s,
        progress,
        [method.schedule for method in methods if method.schedule is not None],
    )
    if hint is not None:
        check(problem, hint)
        stages = tidy(problem, hint)
        if len(stages) <= request.max_stages:
            portfolio.plans.append(schedule(problem, stages))
    answer = _search(portfolio, request)
    return _assemble(problem, request, board, answer, methods, portfolio, started)


def _check_request(request: Request) -> None:
    if request.max_stages < 1:
        raise PartitionError("request", f"a plan of {request.max_stages} stages holds nothing")
    for name, value in (
        ("latency budget", request.budget_s),
        ("largest interval", request.max_interval_s),
        ("time limit", request.time_limit_s),
    ):
        if value is not None and not 0 < value < INFINITY:
            raise PartitionError(
                "request", f"the {name} of {value} s is not a positive duration", "Give one above 0"
            )


def _search(portfolio: Portfolio, request: Request) -> Answer:
    """Find a plan within the limit on the other quantity first, then minimise the objective."""
    if request.objective is Objective.LATENCY:
        other, limit = Objective.INTERVAL, request.max_interval_s
        limits = Limits(interval_s=limit)
    else:
        other, limit = Objective.LATENCY, request.budget_s
        limits = Limits(latency_s=limit)
    if limit is not None and portfolio.best(other, limits) is None:
        bound = portfolio.minimise(other, Limits(), portfolio.seconds_left, stop_below_s=limit)
        if portfolio.best(other, limits) is None:
            return _answer(portfolio, other, Limits(), bound)
    objective = request.objective
    bound = portfolio.minimise(objective, limits, portfolio.seconds_left)
    answer = _answer(portfolio, objective, limits, bound)
    if objective is Objective.INTERVAL and _is_proven(answer.plan.interval_s, bound):
        spare = min(portfolio.seconds_left, TIE_BREAK_SHARE * request.time_limit_s)
        tied = Limits(limits.latency_s, answer.plan.interval_s)
        portfolio.minimise(Objective.LATENCY, tied, spare)
        answer = _answer(portfolio, objective, limits, bound)
    return answer


def _answer(portfolio: Portfolio, objective: Objective, limits: Limits, bound: float) -> Answer:
    plan = portfolio.best(objective, limits)
    if plan is None:
        most = portfolio.max_stages
        reason = (
            f"no plan of at most {most} stages exists"
            if bound == INFINITY
            else f"no plan of at most {most} stages was found in time"
        )
        raise PartitionError(
            "placement", reason, "Allow more stages, or add links or backends to the board"
        )
    plan = schedule(portfolio.problem, prefer_first_listed(portfolio.problem, plan.assignment))
    return Answer(plan, objective, limits, min(bound, plan.value(objective)))


def _is_proven(value: float, bound: float) -> bool:
    return bound >= value * (1 - PROVEN)


def _assemble(
    problem: Problem,
    request: Request,
    board: str,
    answer: Answer,
    methods: tuple[Candidate, ...],
    portfolio: Portfolio,
    started: float,
) -> Plan:
    plan = answer.plan
    wanted = Limits(request.budget_s, request.max_interval_s)
    meets = wanted.admit(plan)
    stages = _stages(problem.table, plan)
    value = plan.value(answer.objective)
    certificate = Certificate(
        objective=answer.objective,
        objective_s=value,
        bound_s=answer.bound_s,
        optimal=_is_proven(value, answer.bound_s),
        scope=_scope(request, answer.limits),
        solver="CP-SAT" if portfolio.searched else "bounds from costs",
        wall_s=perf_counter() - started,
    )
    return Plan(
        board=board,
        request=request,
        stages=stages,
        placements=placements(problem, plan, answer.objective, answer.limits, request.max_stages),
        latency_s=plan.latency_s,
        interval_s=plan.interval_s,
        interval_limit=plan.interval_limit,
        certificate=certificate,
        baselines=tuple(_baseline(method) for method in methods),
        meets=meets,
        shortfall=() if meets else shortfall(problem, plan, request, certificate),
    )


def _baseline(method: Candidate) -> Baseline:
    found = method.schedule
    if found is None:
        return Baseline(method.name, None, None)
    return Baseline(method.name, found.latency_s, found.interval_s)


def _scope(request: Request, limits: Limits) -> str:
    text = f"convex stages in one order, at most {request.max_stages} stages, this cost table"
    if limits.latency_s is not None:
        text += f", latency at most {limits.latency_s * 1e3:g} ms"
    if limits.interval_s is not None:
        text += f", interval at most {limits.interval_s * 1e3:g} ms"
    return text


def _stages(table: CostTable, plan: Schedule) -> tuple[Stage, ...]:
    stages = []
    for index, stage in enumerate(plan.stages):
        costs = (table.costs[r][stage.slot] for r in stage.regions)
        sources = Counter(c.source for c in costs if isinstance(c, Cost))
        stages.append(
            Stage(
                index=index,
                slot=table.slots[stage.slot],
                regions=stage.regions,
                compute_s=stage.compute_s,
                transfer_s=stage.transfer_s,
                start_s=stage.start_s,
                end_s=stage.end_s,
                sources={s: sources[s] for s in Source if sources[s]},
            )
        )
    return tuple(stages)
