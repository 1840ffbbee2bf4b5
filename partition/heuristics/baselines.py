"""What other methods would do on the same cost table, all put in numbers by ``evaluate``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import Assignment, Schedule, check, schedule
from edgeweave.partition.heuristics.chain_dp import best_interval, best_latency, make_chain
from edgeweave.partition.heuristics.heft import heft_slots
from edgeweave.partition.heuristics.staging import Stages, fit_to_stages, tidy
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.problem import Problem


@dataclass(frozen=True)
class Candidate:
    """A method's plan; ``schedule`` is None where the method finds none."""

    name: str
    schedule: Schedule | None


def baselines(problem: Problem, request: Request) -> tuple[Candidate, ...]:
    """The plans of the other methods, each with at most ``request.max_stages`` stages."""
    methods: dict[str, Callable[[], Assignment | None]] = {
        "best single engine": lambda: best_single_engine(problem, request.max_stages),
        "greedy by priority": lambda: greedy_by_priority(problem, request.max_stages),
        "HEFT": lambda: fit_to_stages(problem, heft_slots(problem), request.max_stages),
        "chain DP": lambda: chain_dp(problem, request.objective, request.max_stages),
    }
    return tuple(Candidate(name, valid(problem, plan())) for name, plan in methods.items())


def valid(problem: Problem, assignment: Assignment | None) -> Schedule | None:
    """The schedule of a placement, or None when there is none or it breaks a rule."""
    if assignment is None:
        return None
    try:
        check(problem, assignment)
    except PartitionError:
        return None
    return schedule(problem, tidy(problem, assignment))


def best_single_engine(problem: Problem, max_stages: int) -> Stages | None:
    """The fastest plan that uses one engine, switching between its backends where that pays.

    Exact over cuts of the regions' own order; on one engine latency and busy time are the same.
    """
    chain = make_chain(problem, range(problem.size))
    kept = sum(problem.memory_bytes)
    plans = (
        best_latency(
            problem, chain, problem.slots_of(e), int(min(max_stages, problem.engine_stages[e]))
        )
        for e in range(len(problem.engines))
        if kept <= problem.capacity[e]
    )
    found = [plan for plan in plans if plan is not None]
    return min(found, key=lambda plan: schedule(problem, plan).latency_s, default=None)


def greedy_by_priority(problem: Problem, max_stages: int) -> Stages | None:
    """Every region on the first slot in a fixed order that takes it, transfers not considered.

    As ONNX Runtime's list of execution providers and OpenVINO's HETERO do. The order is that of
    speed: the time a slot would save, over the slowest choice, on all the regions it takes.
    """
    slowest = [max(c for c in row if c < INFINITY) for row in problem.seconds]

    def saved(slot: int) -> float:
        pairs = zip(slowest, problem.seconds, strict=True)
        return sum(slow - row[slot] for slow, row in pairs if row[slot] < INFINITY)

    priority = sorted(range(problem.width), key=lambda s: (-saved(s), s))
    slot_of = [next(s for s in priority if row[s] < INFINITY) for row in problem.seconds]
    return fit_to_stages(problem, slot_of, max_stages)


def chain_dp(problem: Problem, objective: Objective, max_stages: int) -> Stages | None:
    """The best contiguous cut of the regions' own order for the objective."""
    chain = make_chain(problem, range(problem.size))
    if objective is Objective.LATENCY:
        return best_latency(problem, chain, range(problem.width), max_stages)
    return best_interval(problem, chain, max_stages)
