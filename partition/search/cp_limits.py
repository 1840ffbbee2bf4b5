"""What restricts plans beyond refusals and links, in the integer program."""

from __future__ import annotations

from edgeweave.partition.search.cp_model import PlacementModel


def add_limits(p: PlacementModel) -> None:
    """Memory and stages of each engine, and regions that share one."""
    problem = p.problem
    for engine in range(len(problem.engines)):
        slots = problem.slots_of(engine)
        capacity = problem.capacity[engine]
        if capacity < sum(problem.memory_bytes):
            kept = (n * p.on_any(r, slots) for r, n in enumerate(problem.memory_bytes) if n)
            p.model.add(sum(kept) <= int(capacity))
        most = problem.engine_stages[engine]
        if most < p.task.max_stages:
            p.model.add(sum(p.slot[k][s] for k in p.stages for s in slots) <= int(most))
        for first, *others in problem.table.colocated:
            for other in others:
                p.model.add(p.on_any(first, slots) == p.on_any(other, slots))


def leave_out_forbidden(p: PlacementModel) -> None:
    """None of the task's forbidden plans, each given by its stages in order."""
    if not p.task.forbidden:
        return
    for k in p.stages:
        # A stage in use holds a region, so that a plan has one place in the model.
        held = [var for (_, j, _), var in p.at.items() if j == k]
        p.model.add(sum(held) >= sum(p.slot[k]))
    for stages in p.task.forbidden:
        if len(stages) <= p.task.max_stages:
            p.model.add_bool_or(
                p.at[r, k, s].negated() for k, (s, regions) in enumerate(stages) for r in regions
            )
