"""A plan against what is known of its stages as wholes: measured, or stated by a vendor's tool."""

from __future__ import annotations

from dataclasses import replace

from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.plan import Plan
from edgeweave.partition.portfolio import Limits

_CLOSE = 0.03  # a prediction that is met this closely has nothing left to teach


def is_close(plan: Plan, known: Schedule) -> bool:
    """Whether the plan's numbers are those of its stages, within three per cent."""
    pairs = ((plan.latency_s, known.latency_s), (plan.interval_s, known.interval_s))
    return all(abs(a - b) <= _CLOSE * max(a, b) for a, b in pairs)


def judged(plan: Plan, known: Schedule, words: str) -> Plan:
    """The plan with the verdict of its stages as wholes in place of that of summed regions.

    ``words`` say what stands behind: "by the measured times of the stages".
    """
    if Limits(plan.request.budget_s, plan.request.max_interval_s).admit(known):
        return replace(plan, meets=True, shortfall=())
    took = (
        f"As built, a frame takes {known.latency_s * 1e3:.4g} ms and the interval is "
        f"{known.interval_s * 1e3:.4g} ms, {words}."
    )
    return replace(plan, meets=False, shortfall=(took, *plan.shortfall))
