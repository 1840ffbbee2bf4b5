"""Planning: from a cost table and a request to a plan with its proof."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from edgeweave.partition.costs import INFINITY, CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import TOLERANCE, Assignment, Schedule, check, schedule
from edgeweave.partition.explain import placements, shortfall
from edgeweave.partition.heuristics.baselines import Candidate, baselines
from edgeweave.partition.heuristics.staging import prefer_first_listed, tidy
from edgeweave.partition.plan import Baseline, Certificate, Objective, Plan, Request
from edgeweave.partition.plan_stages import plan_stages
from edgeweave.partition.portfolio import PROVEN, Limits, Portfolio
from edgeweave.partition.problem import Problem, check_placeable
from edgeweave.partition.scope import certificate_scope
from edgeweave.partition.search.cp_search import Progress
from edgeweave.partition.search.reduction import reduce_slots

TIE_BREAK_SHARE = 0.25
"""Part of the time limit that may go into a lower latency at the same interval; nor more than the
interval itself took, and a second."""


@dataclass(frozen=True)
class Answer:
    """The plan that is returned, what it was optimised for, within which limits, how proven."""

    plan: Schedule
    objective: Objective
    limits: Limits
    bound: float
    method: str


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
    PartitionError when the request is malformed, a region has no slot, a slot states no power where
    energy is asked for, or no plan exists at all.
    """
    started = perf_counter()
    _check_request(request)
    check_placeable(table)
    problem = Problem(table)
    reduction = reduce_slots(problem)
    _check_powers(reduction.problem, request)
    methods = baselines(problem, request)
    portfolio = Portfolio(
        problem,
        reduction,
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


def _check_powers(problem: Problem, request: Request) -> None:
    """Energy needs the power of every slot that may be used."""
    if request.objective is not Objective.ENERGY:
        return
    for s, watts in enumerate(problem.power):
        if watts is None:
            raise PartitionError(
                f"slot {problem.table.slots[s]}",
                "it states no power, so the energy of a plan that uses it is unknown",
                "State its power, or minimise latency or interval",
            )


def _search(portfolio: Portfolio, request: Request) -> Answer:
    """Find a plan within the limits on other quantities first, then minimise the objective."""
    objective = request.objective
    limits = Limits()
    for other, limit in (
        (Objective.LATENCY, request.budget_s),
        (Objective.INTERVAL, request.max_interval_s),
    ):
        if limit is None or other is objective:
            continue
        tighter = limits.also(other, limit)
        if portfolio.best(other, tighter) is None:
            bound = portfolio.minimise(other, limits, portfolio.seconds_left, stop_below=limit)
            if portfolio.best(other, tighter) is None:
                return _answer(portfolio, other, limits, bound)
        limits = tighter
    bound = portfolio.minimise(objective, limits, portfolio.seconds_left)
    answer = _answer(portfolio, objective, limits, bound)
    if objective is Objective.INTERVAL and _is_proven(answer.plan.interval_s, bound):
        spent = request.time_limit_s - portfolio.seconds_left
        spare = min(portfolio.seconds_left, TIE_BREAK_SHARE * request.time_limit_s, 1 + spent)
        portfolio.minimise(Objective.LATENCY, limits.also(objective, answer.plan.interval_s), spare)
        answer = _answer(portfolio, objective, limits, bound, answer.method)
    return answer


def _answer(
    portfolio: Portfolio, objective: Objective, limits: Limits, bound: float, method: str = ""
) -> Answer:
    plan = portfolio.best(objective, limits)
    if plan is None:
        most = portfolio.max_stages
        reason = (
            f"no plan of at most {most} stages exists"
            if bound == INFINITY
            else f"no plan of at most {most} stages was found in time"
        )
        raise PartitionError("placement", reason, _advice(portfolio.problem))
    stages = prefer_first_listed(portfolio.problem, plan.assignment)
    same = schedule(portfolio.problem, stages)
    if same.value(objective) <= plan.value(objective) * (1 + TOLERANCE) and portfolio.admits(
        limits, same
    ):
        plan = same
    return Answer(
        plan, objective, limits, min(bound, plan.value(objective)), method or portfolio.method
    )


def _advice(problem: Problem) -> str:
    if problem.is_constrained:
        return "Allow more stages, memory or engines for a group, or add links or backends"
    return "Allow more stages, or add links or backends to the board"


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
    stages = plan_stages(problem.table, plan)
    value = plan.value(answer.objective)
    certificate = Certificate(
        objective=answer.objective,
        value=value,
        bound=answer.bound,
        optimal=_is_proven(value, answer.bound),
        scope=certificate_scope(problem.table, request, answer.limits),
        solver=answer.method,
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
        energy_j=plan.energy_j,
        certificate=certificate,
        baselines=tuple(_baseline(method) for method in methods),
        meets=meets,
        shortfall=() if meets else shortfall(problem, plan, request, certificate),
    )


def _baseline(method: Candidate) -> Baseline:
    found = method.schedule
    if found is None:
        return Baseline(method.name, None, None)
    return Baseline(
        method.name, found.latency_s, found.interval_s, found.energy_j, len(found.stages)
    )
