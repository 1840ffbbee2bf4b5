"""Running CP-SAT on a placement model: warm start, progress, bound, extraction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from edgeweave.partition.evaluate import Assignment
from edgeweave.partition.heuristics.staging import Stages
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.cp_build import build
from edgeweave.partition.search.cp_model import PlacementModel, Task
from edgeweave.partition.search.reduction import in_canonical_order

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

WORKERS = 2
SEED = 1
_POLL_S = 0.02

Progress = Callable[[float, float], None]
"""Called with the best value and the bound so far, in the unit of the objective."""


@dataclass(frozen=True)
class Outcome:
    """What a search ended with.

    ``bound`` holds for every plan of the task's class, within its limits. ``exhausted``: the
    search ended by proof, so without a plan there is none.
    """

    assignment: Stages | None
    bound: float
    exhausted: bool


def search(
    problem: Problem,
    task: Task,
    horizon: float,
    seconds: float,
    least: float = 0.0,
    hint: Assignment | None = None,
    stop_below: float | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Solve a task with CP-SAT for at most so many seconds.

    ``horizon`` is a value that some plan within the limits is known not to exceed, or larger than
    any; ``least`` one that all are known not to be below. ``stop_below`` ends the search at the
    first plan that is not above it. All are in the unit of the objective.
    """
    from ortools.sat.python import cp_model

    started = perf_counter()
    placement = build(problem, task, horizon, least)
    if hint is not None:
        _add_hint(placement, in_canonical_order(problem, hint))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = WORKERS
    solver.parameters.random_seed = SEED
    solver.parameters.max_time_in_seconds = max(0.0, seconds - (perf_counter() - started))
    # Probing 250 regions on 6 slots took half of a 20 s limit and gained nothing measurable.
    solver.parameters.cp_model_probing_level = 0
    # With a product in the model, OR-tools 9.15's presolve calls some feasible ones infeasible.
    solver.parameters.cp_model_presolve = problem.table.contention is None
    # CP-SAT would take an interrupt for its own end, and leave later ones without a handler.
    solver.parameters.catch_sigint_signal = False
    watcher = _watcher(placement, stop_below, progress)
    status = _solve(solver, placement, watcher)
    if status == cp_model.INFEASIBLE:
        return Outcome(None, float("inf"), exhausted=True)
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"the placement model is malformed: {placement.model.validate()}")
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return Outcome(
        _extract(placement, solver) if found else None,
        max(0.0, solver.best_objective_bound) * placement.unit,
        exhausted=status == cp_model.OPTIMAL,
    )


def _solve(
    solver: cp_model.CpSolver,
    placement: PlacementModel,
    watcher: cp_model.CpSolverSolutionCallback,
) -> cp_model.CpSolverStatus:
    """Solve in a thread, so that an interrupt ends the search and reaches the caller at once."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(solver.solve, placement.model, watcher)
        try:
            return future.result()
        except BaseException:
            while not future.done():
                solver.stop_search()
                wait([future], _POLL_S)
            raise


def _watcher(
    placement: PlacementModel, stop_below: float | None, progress: Progress | None
) -> cp_model.CpSolverSolutionCallback:
    from ortools.sat.python import cp_model

    class Watcher(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            best = self.objective_value * placement.unit
            if progress is not None:
                progress(best, max(0.0, self.best_objective_bound) * placement.unit)
            if stop_below is not None and best <= stop_below:
                self.stop_search()

    return Watcher()


def _extract(placement: PlacementModel, solver: cp_model.CpSolver) -> Stages:
    stages: list[tuple[int, list[int]]] = []
    for k in placement.stages:
        for s, var in enumerate(placement.slot[k]):
            if solver.boolean_value(var):
                regions = [
                    r
                    for r in range(placement.problem.size)
                    if (r, k, s) in placement.at and solver.boolean_value(placement.at[r, k, s])
                ]
                stages.append((s, regions))
    return tuple((slot, tuple(regions)) for slot, regions in stages if regions)


def _add_hint(p: PlacementModel, assignment: Assignment) -> None:
    """Start the search from a known plan; identical engines must be in canonical order."""
    if len(assignment) > p.task.max_stages:
        return
    problem = p.problem
    place = {r: (k, s) for k, (s, regions) in enumerate(assignment) for r in regions}
    for k, row in enumerate(p.slot):
        for s, var in enumerate(row):
            p.model.add_hint(var, k < len(assignment) and assignment[k][0] == s)
    for r, row in enumerate(p.by_stage):
        for k, var in enumerate(row):
            p.model.add_hint(var, place[r][0] <= k)
    for (r, k, s), var in p.at.items():
        p.model.add_hint(var, place[r] == (k, s))
    for (r, s), var in p.on.items():
        p.model.add_hint(var, place[r][1] == s)
    _hint_payments(p, place)
    for (i, k), var in p.before.items():
        p.model.add_hint(var, _must_precede(problem, assignment, place, i, k))


def _hint_payments(p: PlacementModel, place: dict[int, tuple[int, int]]) -> None:
    values = p.problem.values
    for (i, k, s), options in p.pays.items():
        read = any(place[c] == (k, s) for c in values[i].consumers)
        for sources, var in options:
            p.model.add_hint(var, read and place[values[i].producer][1] in sources)
    for (i, a), levels in p.sends.items():
        stage, slot = place[values[i].producer]
        for level, (readers, var) in enumerate(levels):
            sent = slot == a and any(place[c][1] in readers for c in values[i].consumers)
            p.model.add_hint(var, sent)
            for k in p.stages if p.sends_in else ():
                p.model.add_hint(p.sends_in[i, k, a][level], sent and k == stage)


def _must_precede(
    problem: Problem, assignment: Assignment, place: dict[int, tuple[int, int]], i: int, k: int
) -> bool:
    if k >= len(assignment):
        return False
    if problem.engine_of[assignment[i][0]] == problem.engine_of[assignment[k][0]]:
        return True
    return any(place[a][0] == i and place[b][0] == k for a, b in problem.edges)
