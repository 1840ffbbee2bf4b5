"""The stages of a plan as work for the engines of its board."""

from __future__ import annotations

from collections.abc import Sequence

from edgeweave.partition.errors import PartitionError
from edgeweave.partition.overlap import Job
from edgeweave.partition.plan import Stage
from edgeweave.targets.region import Value


def plan_jobs(
    stages: Sequence[Stage],
    values: Sequence[Value],
    dram_bytes: Sequence[int],
    engines: Sequence[str],
) -> tuple[Job, ...]:
    """One job per stage: its seconds as planned, its bytes, and the stages it reads from.

    ``values`` and ``dram_bytes`` are those of the cost table that the plan was made from. Raises
    PartitionError when the plan is of another table, or runs on an engine that is not among
    ``engines``.
    """
    stage_of = {region: stage.index for stage in stages for region in stage.regions}
    if sorted(stage_of) != list(range(len(dram_bytes))):
        raise PartitionError(
            "plan",
            f"it places {len(stage_of)} regions and the costs are of {len(dram_bytes)}",
            "Give a plan with the costs it was made from",
        )
    after: list[set[int]] = [set() for _ in stages]
    for value in values:
        if value.producer is not None and not value.feedback:
            source = stage_of[value.producer]
            for target in {stage_of[c] for c in value.consumers} - {source}:
                after[target].add(source)
    place = {name: index for index, name in enumerate(engines)}
    jobs = []
    for stage in stages:
        if stage.slot.engine not in place:
            raise PartitionError("plan", f"no engine is called {stage.slot.engine!r}")
        jobs.append(
            Job(
                place[stage.slot.engine],
                stage.compute_s + stage.transfer_s,
                sum(dram_bytes[region] for region in stage.regions),
                tuple(sorted(after[stage.index])),
            )
        )
    return tuple(jobs)
