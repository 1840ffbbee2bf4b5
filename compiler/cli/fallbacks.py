"""What fell back to ONNX Runtime, and why: the last line of every placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeweave.partition.plan import Alternative, Placement, Plan
from edgeweave.targets.backend import Slot

FALLBACK = "onnxruntime"


@dataclass(frozen=True)
class Fallback:
    """A region that ONNX Runtime runs because no other backend of its engine can."""

    region: str
    slot: Slot
    rule: str
    reason: str


@dataclass(frozen=True)
class Fallbacks:
    """All that fell back of ``regions`` regions.

    ``by_cost`` counts the regions that ONNX Runtime runs because it is cheaper there: a choice, not
    a fallback.
    """

    regions: int
    found: tuple[Fallback, ...]
    by_cost: int

    @property
    def choice(self) -> str:
        """A sentence about the regions that are there by choice."""
        which = f"{self.by_cost} of {self.regions} regions"
        return f"chosen: {which} run on ONNX Runtime because it costs less there"

    @property
    def sentence(self) -> str:
        """How many regions fell back, and why, in one line."""
        if not self.found:
            return f"fallback: none of {self.regions} regions"
        reasons = Counter(f"{entry.reason} [{entry.rule}]" for entry in self.found)
        why = "; ".join(f"{count}x {reason}" for reason, count in reasons.most_common())
        which = f"{len(self.found)} of {self.regions} regions"
        return f"fallback: {which} run on ONNX Runtime because nothing else can: {why}"

    def to_json(self) -> dict[str, Any]:
        """The fallbacks as JSON data."""
        return {
            "count": len(self.found),
            "chosen_by_cost": self.by_cost,
            "regions": [
                {
                    "region": entry.region,
                    "slot": {"engine": entry.slot.engine, "backend": entry.slot.backend},
                    "rule": entry.rule,
                    "reason": entry.reason,
                }
                for entry in self.found
            ],
        }


def find_fallbacks(plan: Plan, build: Sequence[Mapping[str, Any]] = ()) -> Fallbacks:
    """What fell back in a plan; ``build`` holds, as JSON data, how each of its stages was built."""
    found: list[Fallback] = []
    by_cost = 0
    for placement in plan.placements:
        built = build[placement.stage] if build else None
        backend = built["slot"]["backend"] if built else placement.slot.backend
        if backend != FALLBACK:
            continue
        cause = _fault(built) or _refusal(placement)
        if cause is not None:
            found.append(Fallback(placement.region, Slot(placement.slot.engine, backend), *cause))
        elif _others(placement) or placement.slot.backend != FALLBACK:
            by_cost += 1
    return Fallbacks(len(plan.placements), tuple(found), by_cost)


def _others(placement: Placement) -> list[Alternative]:
    """What the engine's other backends say to the region."""
    engine = placement.slot.engine
    return [
        other
        for other in placement.alternatives
        if other.slot.engine == engine and other.slot.backend != FALLBACK
    ]


def _refusal(placement: Placement) -> tuple[str, str] | None:
    """Rule and reason, when every other backend of the engine refuses the region."""
    others = _others(placement)
    refused = [other for other in others if other.verdict == "refused"]
    if placement.slot.backend != FALLBACK or not refused or len(refused) < len(others):
        return None
    return refused[0].rule, refused[0].reason


def _fault(built: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Why the stage could not be used as it was planned, when that is why it is here."""
    if built is None or built["planned"]["backend"] == FALLBACK:
        return None
    for candidate in built["candidates"]:
        if candidate["slot"] == built["planned"] and candidate["fault"]:
            return "build", candidate["fault"]
    return None
