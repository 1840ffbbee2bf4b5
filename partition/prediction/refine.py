"""A plan's numbers again, once its stages have been built and timed as wholes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeweave.partition.costs import Cost, CostTable, Source
from edgeweave.partition.evaluate import Schedule, evaluate
from edgeweave.targets.backend import Slot


@dataclass(frozen=True)
class BuiltTime:
    """Where a stage ended up and what a whole call of it takes; None where nobody knows.

    ``source`` says who knows: it was measured, or the vendor's tool states it for the stage.
    """

    slot: Slot
    regions: tuple[int, ...]
    seconds: float | None
    source: Source = Source.MEASURED


def refine(table: CostTable, stages: Sequence[BuiltTime]) -> Schedule:
    """Evaluate the stages with their own times in place of the sums over their regions.

    A time covers the stage's call overhead; transfers stay those of the table.
    """
    placed = [(table.slots.index(stage.slot), stage.regions) for stage in stages]
    return evaluate(refined_table(table, stages), placed)


def refined_table(table: CostTable, stages: Sequence[BuiltTime]) -> CostTable:
    """The table with the regions' costs scaled so that each stage adds up to its own time.

    A region costs the same on every slot of the same backend where it did before.
    """
    rows = [list(row) for row in table.costs]
    for stage in stages:
        if stage.seconds is None:
            continue
        column = table.slots.index(stage.slot)
        net = max(stage.seconds - table.stage_overhead_s[column], 0.0)
        total = sum(table.seconds(region, column) or 0.0 for region in stage.regions)
        for region in stage.regions:
            known = table.costs[region][column]
            part = (table.seconds(region, column) or 0.0) / total if total else 0.0
            share = part if total else 1 / len(stage.regions)
            for other, slot in enumerate(table.slots):
                if slot.backend == stage.slot.backend and table.costs[region][other] == known:
                    rows[region][other] = Cost(net * share, stage.source)
    return replace(table, costs=tuple(tuple(row) for row in rows))
