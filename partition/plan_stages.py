"""A schedule's stages as a plan states them."""

from __future__ import annotations

from collections import Counter

from edgeweave.partition.costs import Cost, CostTable, Source
from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.plan import Stage


def plan_stages(table: CostTable, schedule: Schedule) -> tuple[Stage, ...]:
    """The stages of a placement with their slots and the sources of their costs."""
    stages = []
    for index, stage in enumerate(schedule.stages):
        costs = (table.costs[r][stage.slot] for r in stage.regions)
        counts = Counter(cost.source for cost in costs if isinstance(cost, Cost))
        stages.append(
            Stage(
                index=index,
                slot=table.slots[stage.slot],
                regions=stage.regions,
                compute_s=stage.compute_s,
                transfer_s=stage.transfer_s,
                start_s=stage.start_s,
                end_s=stage.end_s,
                sources={source: counts[source] for source in Source if counts[source]},
            )
        )
    return tuple(stages)
