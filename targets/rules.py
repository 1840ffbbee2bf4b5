"""Refusals that hold for every backend, checked before a backend's own rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from edgeweave.targets import registry
from edgeweave.targets.backend import Backend, Refusal, Rule
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.region import Region

_SAME_PEAK = {"uint8": "int8"}
# Index arithmetic and masks; programmable engines compute them at the width of a float32 lane.
_LANE_TYPES = {"int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"}


def find_peak(engine: Engine, precision: str) -> Quantity | None:
    """The peak (10^9 operations per second) at which the engine computes a region's precision.

    None when it cannot. A CPU computes everything, at its float32 peak where it has no other; a
    GPU or DSP computes wide integers and booleans at its float32 peak.
    """
    peak = engine.peak_gops.get(_SAME_PEAK.get(precision, precision))
    if peak is None and (
        engine.kind == "cpu" or (engine.kind in ("gpu", "dsp") and precision in _LANE_TYPES)
    ):
        return engine.peak_gops.get("float32")
    return peak


def _refuse_precision(region: Region, engine: Engine) -> str | None:
    if find_peak(engine, region.precision) is not None:
        return None
    own = " and ".join(engine.peak_gops)
    return f"engine {engine.name} computes {own}; the region is {region.precision}"


PRECISION_RULE = Rule(
    "engine.precision",
    "The engine computes in the precision of the region's anchor operator.",
    _refuse_precision,
)


@cache
def installed_backend(name: str) -> Backend | None:
    """The backend of that name, or None when this installation has none."""
    return registry.find_backend(name) if name in registry.backend_names() else None


def has_estimates(name: str) -> bool:
    """Whether the backend's vendor has a compiler that states figures, and it is installed."""
    backend = installed_backend(name)
    return backend is not None and backend.estimates and not backend.missing()


def find_refusal(
    region: Region,
    engine: Engine,
    backend: str,
    find: Callable[[str], Backend | None] = installed_backend,
) -> Refusal | None:
    """Why the engine does not take the region through that backend, or None when it does."""
    driver = find(backend)
    if driver is None:
        return Refusal("backend.missing", f"backend {backend} is not part of this installation")
    reason = PRECISION_RULE.check(region, engine)
    if reason is not None:
        return Refusal(PRECISION_RULE.id, reason)
    return driver.refusal(region, engine)
