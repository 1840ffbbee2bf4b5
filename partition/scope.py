"""What a certificate speaks about, in words: the class of plans that its bound holds for."""

from __future__ import annotations

from edgeweave.partition.costs import CostTable
from edgeweave.partition.plan import Request
from edgeweave.partition.portfolio import Limits


def certificate_scope(table: CostTable, request: Request, limits: Limits) -> str:
    """The class of plans, then what plans of it keep, then the law that sets their numbers."""
    parts = [f"convex stages in one order, at most {request.max_stages} stages"]
    stages = _per_engine(table, table.engine_stages)
    if stages:
        parts.append("at most " + ", ".join(f"{count} on {name}" for name, count in stages))
    parts.append("this cost table")
    memory = _per_engine(table, table.capacity_bytes)
    if memory:
        parts.append("memory of " + " and ".join(name for name, _ in memory))
    if table.colocated:
        count = len(table.colocated)
        parts.append(f"{count} group{'s' if count > 1 else ''} of regions on one engine each")
    if limits.latency_s is not None:
        parts.append(f"latency at most {limits.latency_s * 1e3:g} ms")
    if limits.interval_s is not None:
        parts.append(f"interval at most {limits.interval_s * 1e3:g} ms")
    law = table.contention
    if law is not None:
        knee = law.knee_bytes_per_s / 1e9
        parts.append(f"memory contention from {knee:g} GB/s with slope {law.slope:g}")
    return ", ".join(parts)


def _per_engine(table: CostTable, limits: tuple[int | None, ...]) -> list[tuple[str, int]]:
    """Engine names with their limits, where they have one."""
    pairs = zip(table.engines, limits, strict=bool(limits))
    return [(name, limit) for name, limit in pairs if limit is not None]
