"""A simulated run of the plans of several models that share a board."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import CostTable
from edgeweave.partition.several.joint_plan import JointPlan, ModelPlan
from edgeweave.partition.simulation.outcome import Simulation
from edgeweave.partition.simulation.plan_jobs import plan_jobs
from edgeweave.partition.simulation.simulate import simulate
from edgeweave.partition.simulation.stream import Stream

MOST_FRAMES = 100_000
"""Of one model, where its rate is far above that of another."""


def simulate_together(
    plan: JointPlan, tables: Sequence[CostTable], frames: int, contention: Contention | None
) -> Simulation:
    """Run the plans beside each other for so many frames of the model with the lowest rate.

    All first frames arrive at once. ``tables`` are those the plans were made from, in the order of
    the plan's models.
    """
    engines = tuple(use.engine for use in plan.engines)
    span = frames * max(_spacing(model) for model in plan.models)
    streams = [
        Stream(
            name=model.name,
            jobs=plan_jobs(model.stages, table.values, table.dram_bytes, engines),
            frames=max(1, min(MOST_FRAMES, math.ceil(span / _spacing(model)))),
            period_s=model.period_s,
            depth=model.queue_depth,
            deadline_s=model.budget_s,
            priority=-model.priority,
        )
        for model, table in zip(plan.models, tables, strict=True)
    ]
    bandwidth = max(table.dram_bytes_per_s for table in tables)
    return simulate(streams, engines, contention, bandwidth)


def _spacing(model: ModelPlan) -> float:
    """Seconds from one frame to the next; at most once per latency where no rate is given."""
    return model.period_s or model.latency_s or 1e-6
