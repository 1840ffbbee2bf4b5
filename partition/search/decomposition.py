"""The searches that take a graph apart: by its ideals, or by the sequence of the stages' slots."""

from __future__ import annotations

from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.ideal_dp import least_interval
from edgeweave.partition.search.sequence_search import PROVEN, Offer, search_sequences


def decompose(
    problem: Problem,
    objective: Objective,
    max_stages: int,
    known: float,
    deadline: float,
    offer: Offer,
) -> float:
    """Look for the best plans; returns what is proven of all, in the unit of the objective.

    ``known`` is the best value so far (infinite when there is none), ``deadline`` is in the clock
    of ``perf_counter``. Stages that run side by side or slow each other down are left out: what is
    proven holds nevertheless, and for the latency nothing is.
    """
    proven = 0.0
    if objective is Objective.INTERVAL and all(most == 1 for most in problem.engine_stages):
        found = least_interval(problem, max_stages, known, deadline)
        proven = found.bound_s
        if found.assignment is not None:
            known = min(known, offer(found.assignment))
        # Where prices depend on both ends, its plan need not be the best one.
        if proven >= known * (1 - PROVEN):
            return proven
    weights = {
        Objective.INTERVAL: None,
        Objective.LATENCY: (1.0,) * problem.width,
        Objective.ENERGY: tuple(watts or 0.0 for watts in problem.power),
    }[objective]
    bound = search_sequences(problem, max_stages, known, deadline, offer, weights)
    return 0.0 if objective is Objective.LATENCY else max(proven, bound)
