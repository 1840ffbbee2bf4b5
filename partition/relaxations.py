"""What of a request or a board would have to give way for a request that no plan meets.

Whatever is said to be enough was tried: a plan was put in numbers that meets the request with it.
Whatever is said not to be enough is proven by a lower bound. Between the two nothing is claimed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, sqrt
from time import perf_counter

from edgeweave.partition.contention import contended_interval
from edgeweave.partition.costs import INFINITY, Cost, Source
from edgeweave.partition.evaluate import Schedule, schedule
from edgeweave.partition.heuristics.improve import polish
from edgeweave.partition.heuristics.incremental import Placed, engine_loads
from edgeweave.partition.overlap import run_once
from edgeweave.partition.plan import Certificate, Objective, Request
from edgeweave.partition.portfolio import PROVEN, Limits, within
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.bounds import simple_bound
from edgeweave.partition.search.path_bound import latency_bound
from edgeweave.targets.backend import Refusal
from edgeweave.targets.rules import PRECISION_RULE

MORE_STAGES = 4
"""Stages beyond those that were allowed that are tried."""

MOST_SPEED = 1e4
"""An engine that many times as fast stands for one that takes no time."""

FEW_REGIONS = 100
"""Regions up to which the bound along chains is cheap enough to be asked many times."""


@dataclass(frozen=True)
class Relaxation:
    """One thing that could give way.

    ``kind`` is ``budget``, ``stages``, ``engine`` or ``precision``; ``subject`` is the limit or the
    engine it is about. ``needed`` is the least that is known to be enough (seconds, stages, times
    as fast), None where nothing is. ``proven``: it is proven that less is not enough or, where
    ``needed`` is None, that nothing of the kind is.
    """

    kind: str
    subject: str
    needed: float | None
    proven: bool
    text: str


@dataclass(frozen=True)
class Missed:
    """A limit that the plan does not keep; seconds, and the word for it."""

    objective: Objective
    value: float
    limit: float
    word: str


def missed_limits(plan: Schedule, request: Request) -> tuple[Missed, ...]:
    """Which of the request's limits the plan does not keep."""
    wanted = (
        (Objective.LATENCY, plan.latency_s, request.budget_s, "budget"),
        (Objective.INTERVAL, plan.interval_s, request.max_interval_s, "limit"),
    )
    return tuple(
        Missed(objective, value, limit, word)
        for objective, value, limit, word in wanted
        if limit is not None and not within(value, limit)
    )


def relaxations(
    problem: Problem,
    plan: Schedule,
    request: Request,
    certificate: Certificate,
    seconds: float = 2.0,
) -> tuple[Relaxation, ...]:
    """What would make the request feasible; none when the plan meets it.

    Takes about ``seconds`` at most: with less time less is found and less is proven.
    """
    missed = missed_limits(plan, request)
    if not missed:
        return ()
    deadline = perf_counter() + seconds
    return (
        *budgets(missed, certificate),
        *more_stages(problem, plan, request, certificate, deadline - 0.7 * seconds),
        *faster_engines(problem, plan, request, deadline - 0.1 * seconds),
        *precisions(problem, request),
    )


def budgets(missed: tuple[Missed, ...], certificate: Certificate) -> Iterator[Relaxation]:
    """The limits themselves: what the plan needs, and what no plan can be below."""
    for m in missed:
        known = certificate.objective is m.objective
        proven = known and m.value * (1 - PROVEN) <= certificate.bound
        if proven:
            text = f"The {m.word} would have to be at least {ms(m.value)} ms on this board."
        elif known and certificate.bound > m.limit:
            text = (
                f"The {m.word} would have to be at least {ms(certificate.bound)} ms on this board; "
                f"{ms(m.value)} ms is enough."
            )
        else:
            text = (
                f"The search did not prove the {m.word} out of reach: a longer time limit may find "
                "more."
            )
        yield Relaxation("budget", m.objective.value, m.value, proven, text)


def more_stages(
    problem: Problem, plan: Schedule, request: Request, certificate: Certificate, deadline: float
) -> Iterator[Relaxation]:
    """A plan that meets the request with more stages, by small changes to this one."""
    if request.max_stages >= problem.size:
        return
    floors = _bounds(problem, problem.size)
    for objective, limit in _limits(request):
        if not within(floors[objective], limit):
            text = (
                "More stages are not enough: with any number of them the "
                f"{objective.value} is at least {ms(floors[objective])} ms."
            )
            yield Relaxation("stages", objective.value, None, True, text)
            return
    for count in range(request.max_stages + 1, request.max_stages + 1 + MORE_STAGES):
        found = _met(problem, plan, replace(request, max_stages=count), deadline)
        if found is not None:
            known = {m.objective: m.limit for m in missed_limits(plan, request)}
            limit = known.get(certificate.objective, INFINITY)
            proven = count == request.max_stages + 1 and certificate.bound > limit
            text = f"With {count} stages instead of {request.max_stages} a plan meets the request"
            text += ", and with fewer none does." if proven else "."
            yield Relaxation("stages", "stages", count, proven, text)
            return


def faster_engines(
    problem: Problem, plan: Schedule, request: Request, deadline: float
) -> Iterator[Relaxation]:
    """For each engine how many times as fast as it is it would have to compute its regions."""
    busiest = sorted(plan.engine_s, key=lambda name: -plan.engine_s[name])
    for number, name in enumerate(busiest):
        engine = problem.engines.index(name)
        share = (deadline - perf_counter()) / (len(busiest) - number)
        found = _faster(problem, plan, request, engine, perf_counter() + share)
        if found is not None:
            yield found


def _faster(
    problem: Problem, plan: Schedule, request: Request, engine: int, deadline: float
) -> Relaxation | None:
    name = problem.engines[engine]
    busy = sum(
        problem.seconds[r][stage.slot]
        for stage in plan.stages
        if problem.engine_of[stage.slot] == engine
        for r in stage.regions
    )
    share = f"{name} computes {ms(busy)} ms of a frame" if busy else f"{name} is not used"

    def ruled_out(speed: float) -> bool:
        floors = _bounds(_sped_up(problem, engine, speed), request.max_stages)
        return any(not within(floors[objective], limit) for objective, limit in _limits(request))

    if ruled_out(MOST_SPEED):
        text = f"{share}; however fast it were, no plan would meet the request."
        return Relaxation("engine", name, None, True, text)
    least = _last(ruled_out, 1.0, MOST_SPEED, deadline) if ruled_out(1.0) else 1.0
    kept = _kept_speed(problem, plan, request, engine)
    other = _other_speed(problem, plan, request, engine, (least, kept), deadline)
    best = min((x for x in (kept, other) if x is not None), default=None)
    proven = best is not None and best <= least * 1.001
    if kept is not None:
        text = f"{share}; with this plan it would have to be {_times(kept)} times as fast"
    elif busy:
        text = f"{share}; with this plan no faster {name} alone would be enough"
    elif other is None:
        return None
    else:
        text = share
    if other is not None and (kept is None or other < kept * 0.99):
        text += f"; with another plan {_times(other)} times as fast is enough"
    if proven:
        text += ", and less is not enough"
    elif least >= 1.01:
        text += f"; {floor(least * 100) / 100:.2f} times is proven not to be enough"
    return Relaxation("engine", name, best, proven, f"{text}.")


def _last(holds: Callable[[float], bool], low: float, high: float, deadline: float) -> float:
    """About the largest factor for which it holds, which it does for ``low`` and not ``high``."""
    while high > low * 1.0005 and perf_counter() < deadline:
        middle = sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _kept_speed(problem: Problem, plan: Schedule, request: Request, engine: int) -> float | None:
    """The least factor with which this very plan meets the request, or None."""
    jobs = Placed(problem, plan.assignment).jobs()
    table, count = problem.table, len(problem.engines)
    computes = [
        sum(problem.seconds[r][stage.slot] for r in stage.regions)
        if problem.engine_of[stage.slot] == engine
        else 0.0
        for stage in plan.stages
    ]

    def misses(speed: float) -> bool:
        now = [
            replace(job, seconds=job.seconds - compute + compute / speed)
            for job, compute in zip(jobs, computes, strict=True)
        ]
        latency = max(end for _, end in run_once(now, count, table.contention))
        loads = engine_loads(now, count)
        interval, _ = contended_interval(loads, table.contention, table.dram_bytes_per_s)
        values = {Objective.LATENCY: latency, Objective.INTERVAL: interval}
        return any(not within(values[objective], limit) for objective, limit in _limits(request))

    if not any(computes) or misses(MOST_SPEED):
        return None
    enough = _last(misses, 1.0, MOST_SPEED, INFINITY) * 1.0005
    return enough if not misses(enough) else None


def _other_speed(
    problem: Problem,
    plan: Schedule,
    request: Request,
    engine: int,
    between: tuple[float, float | None],
    deadline: float,
) -> float | None:
    """A factor with which another plan, found by small changes to this one, meets the request."""
    low, high = between
    found = None
    tries = [2.0 * low, 8.0 * low, 64.0 * low] if high is None else []
    for speed in tries:
        if perf_counter() < deadline and found is None:
            if _met(_sped_up(problem, engine, speed), plan, request, deadline) is not None:
                found = high = speed
            else:
                low = speed
    while high is not None and high > low * 1.02 and perf_counter() < deadline:
        middle = sqrt(low * high)
        if _met(_sped_up(problem, engine, middle), plan, request, deadline) is None:
            low = middle
        else:
            found = high = middle
    return found


def precisions(problem: Problem, request: Request) -> Iterator[Relaxation]:
    """Whether engines that refuse regions for their precision stand in the way."""
    refused = _refused_for_precision(problem)
    if not refused:
        return
    if len(refused) > 1:
        cells = {cell for more in refused.values() for cell in more}
        best = _ruled_out(_freed(problem, cells), request)
        if best is not None:
            count = len({r for r, _ in cells})
            text = (
                f"No precision is enough: even if the engines took at no cost the {count} regions "
                f"that they refuse for it, {best}."
            )
            yield Relaxation("precision", "every engine", None, True, text)
            return
    for name, cells in refused.items():
        regions = len({r for r, _ in cells})
        reasons = Counter(_reason(problem, r, s) for r, s in sorted(cells))
        why = reasons.most_common(1)[0][0]
        best = _ruled_out(_freed(problem, cells), request)
        if best is None:
            text = (
                f"{name} refuses {regions} regions for their precision ({why}): in one that it "
                "computes, the request is not proven out of reach."
            )
        else:
            text = (
                f"Even if {name} took at no cost the {regions} regions that it refuses for their "
                f"precision ({why}), {best}."
            )
        yield Relaxation("precision", name, None, best is not None, text)


def _refused_for_precision(problem: Problem) -> dict[str, set[tuple[int, int]]]:
    """Per engine the (region, slot) pairs that the rule of precision refuses."""
    found: dict[str, set[tuple[int, int]]] = {}
    for r, row in enumerate(problem.table.costs):
        for s, cost in enumerate(row):
            if isinstance(cost, Refusal) and cost.rule == PRECISION_RULE.id:
                found.setdefault(problem.table.slots[s].engine, set()).add((r, s))
    return found


def _reason(problem: Problem, region: int, slot: int) -> str:
    cost = problem.table.costs[region][slot]
    return cost.reason if isinstance(cost, Refusal) else ""


def _ruled_out(problem: Problem, request: Request) -> str | None:
    """What no plan can be below, in words, where that is above a limit of the request."""
    floors = _bounds(problem, request.max_stages)
    for objective, limit in _limits(request):
        if not within(floors[objective], limit):
            return f"no plan's {objective.value} would be below {ms(floors[objective])} ms"
    return None


def _limits(request: Request) -> list[tuple[Objective, float]]:
    pairs = ((Objective.LATENCY, request.budget_s), (Objective.INTERVAL, request.max_interval_s))
    return [(objective, limit) for objective, limit in pairs if limit is not None]


def _bounds(problem: Problem, max_stages: int) -> dict[Objective, float]:
    latency = simple_bound(problem, Objective.LATENCY)
    if problem.size <= FEW_REGIONS:
        latency = max(latency, latency_bound(problem, max_stages))
    interval = simple_bound(problem, Objective.INTERVAL)
    return {Objective.LATENCY: latency, Objective.INTERVAL: interval}


def _met(problem: Problem, plan: Schedule, request: Request, deadline: float) -> Schedule | None:
    """A plan that meets the request, by small changes to this one, or None."""
    wanted = Limits(request.budget_s, request.max_interval_s)
    found = schedule(problem, plan.assignment)
    for missed in missed_limits(found, request):
        others = {m.objective for m in missed_limits(found, request)} - {missed.objective}
        kept = Limits(
            None if Objective.LATENCY in (missed.objective, *others) else request.budget_s,
            None if Objective.INTERVAL in (missed.objective, *others) else request.max_interval_s,
        )
        found = polish(problem, found, missed.objective, request.max_stages, kept.admit, deadline)
    return found if wanted.admit(found) else None


def _sped_up(problem: Problem, engine: int, speed: float) -> Problem:
    """The problem with every region of the engine's slots taking its time over ``speed``."""

    def cost(known: Cost | Refusal, slot: int) -> Cost | Refusal:
        if isinstance(known, Refusal) or problem.engine_of[slot] != engine:
            return known
        return Cost(known.seconds / speed, known.source)

    return _with_costs(problem, cost)


def _freed(problem: Problem, cells: set[tuple[int, int]]) -> Problem:
    """The problem with these refused pairs of region and slot costing nothing."""
    rows = [list(row) for row in problem.table.costs]
    for r, s in cells:
        rows[r][s] = Cost(0.0, Source.GIVEN)
    return _take_over(problem, tuple(tuple(row) for row in rows))


def _with_costs(
    problem: Problem, change: Callable[[Cost | Refusal, int], Cost | Refusal]
) -> Problem:
    rows = (tuple(change(cost, s) for s, cost in enumerate(row)) for row in problem.table.costs)
    return _take_over(problem, tuple(rows))


def _take_over(problem: Problem, costs: tuple[tuple[Cost | Refusal, ...], ...]) -> Problem:
    """The problem with other costs; what of its index has nothing to do with them is kept."""
    changed = Problem(replace(problem.table, costs=costs))
    kept = {k: v for k, v in vars(problem).items() if k not in ("table", "seconds")}
    vars(changed).update(kept)
    return changed


def _times(factor: float) -> str:
    """Rounded up, so that what it says is enough."""
    return f"{ceil(factor * 100 - 0.1) / 100:.2f}"


def ms(seconds: float) -> str:
    """Milliseconds with three significant digits, and at least one decimal digit."""
    value = seconds * 1e3
    return f"{value:.1f}" if value >= 100 else f"{value:.3g}"
