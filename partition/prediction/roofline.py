"""The calibrated roofline: how long a region takes when nothing was measured.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

from edgeweave.partition.costs import Cost, Source
from edgeweave.partition.errors import PartitionError
from edgeweave.targets.board import Engine
from edgeweave.targets.region import Region
from edgeweave.targets.rules import find_peak


def roofline(region: Region, engine: Engine, dram_gb_s: float) -> Cost:
    """Predicted seconds of the region on the engine, without the fixed cost of a call.

    The longer of arithmetic (operations over the reachable peak) and memory traffic (bytes over the
    reachable share of ``dram_gb_s``). Raises PartitionError when the engine has no peak for the
    region's precision; such a region is refused before it is costed.
    """
    peak_gops = require_peak(engine, region.precision)
    seconds = roofline_seconds(
        region.flops,
        region.bytes_moved,
        peak_gops * engine.compute_efficiency.value,
        dram_gb_s * engine.memory_efficiency.value,
    )
    return Cost(seconds, Source.ROOFLINE)


def ideal_seconds(region: Region, engine: Engine, dram_gb_s: float) -> float:
    """Seconds at the full peak: no run from memory can be shorter."""
    peak_gops = require_peak(engine, region.precision)
    return roofline_seconds(region.flops, region.bytes_moved, peak_gops, dram_gb_s)


def roofline_seconds(flops: float, nbytes: float, gops: float, gb_s: float) -> float:
    """``max(flops / gops, nbytes / gb_s)`` in seconds; rates in 10^9 per second."""
    return max(flops / gops, nbytes / gb_s) / 1e9


def require_peak(engine: Engine, precision: str) -> float:
    """The engine's peak for the precision in 10^9 operations per second; PartitionError if none."""
    peak = find_peak(engine, precision)
    if peak is None:
        raise PartitionError(
            f"engine {engine.name}",
            f"has no peak for {precision}",
            "Refuse the region before costing it",
        )
    return peak.value
