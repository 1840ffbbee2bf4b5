"""Engines that slow each other down at a given interval, in the integer program.

An engine with S seconds and B bytes per frame, beside others that move O bytes, keeps up at the
interval T when ``S * slowdown(B / S, O / T) <= T``. Above the knee of the law (``contention.py``)
the left side is ``S + slope / knee * (S * O / T + min(0, B - S * knee))``. The product of the two
linear expressions S and O is modelled in coarser units than costs are, rounded down as they are.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Any

from edgeweave.partition.contention import Contention
from edgeweave.partition.search.cp_model import MOST_UNITS, PlacementModel, whole

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

COARSE_TIME = 16
"""Units of time in one unit of the product's first factor: 2^26 of them are the horizon."""

COARSE_BYTES = 2.0**24
"""Units of the product's second factor in the traffic of a frame."""

LARGEST_FACTOR = 2.0**28
"""What constraints are multiplied with to make their coefficients whole; more would overflow."""


def add_keeps_up(
    p: PlacementModel, law: Contention, engine: int, interval: Any, at_s: float
) -> None:
    """The engine ends its work within ``interval`` units beside the others' bytes per ``at_s``."""
    traffic, slots = p.problem.table.dram_bytes, p.problem.slots_of(engine)
    here = [(r, s) for s in slots for r, n in enumerate(traffic) if n and (r, s) in p.on]
    if law.slope == 0 or not here:
        return
    draws = p.model.new_bool_var(f"draws{engine}")  # who moves no bytes is not slowed down
    for place in here:
        p.model.add_implication(p.on[place], draws)
    # What a stage receives and its overhead lower its demand, so regions alone tell what is not.
    always_below = all(
        traffic[r] <= p.problem.seconds[r][s] * law.knee_bytes_per_s for r, s in here
    )
    below = p.model.new_bool_var(f"below{engine}")
    if always_below:
        p.model.add(below == 1)
    factor, weight, product = _product(p, law, engine, at_s, draws)
    own = [part for part in p.parts if part.slot in slots]
    per_byte = law.slope / law.knee_bytes_per_s
    above_knee = p.time(own)
    below_knee = sum(whole((1 - law.slope) * x.seconds, p.second) * x.var for x in own) + sum(
        whole(traffic[r] * per_byte, p.second) * p.on[r, s] for r, s in here
    )
    least = -ceil(law.slope + 2) * MOST_UNITS
    linear = p.model.new_int_var(least, MOST_UNITS, f"linear{engine}")
    p.model.add(linear >= below_knee).only_enforce_if(draws, below)
    p.model.add(linear >= above_knee).only_enforce_if(draws, below.negated())
    slowed = factor * linear + weight * product  # rounded down to units of time once more
    p.model.add(factor * interval + factor - 1 >= slowed).only_enforce_if(draws)


def _product(
    p: PlacementModel, law: Contention, engine: int, at_s: float, draws: cp_model.IntVar
) -> tuple[int, int, cp_model.IntVar]:
    """(factor, weight, product): the slowdown takes ``weight / factor * product`` units of time."""
    traffic, slots = p.problem.table.dram_bytes, p.problem.slots_of(engine)
    largest = LARGEST_FACTOR / (law.slope + 2)
    # Seconds of slowdown per second of work and byte of the others.
    rate = law.slope / (law.knee_bytes_per_s * at_s)
    coarse = max(sum(traffic) / COARSE_BYTES, 1 / (largest * rate), 1.0)
    coarse_bytes = ceil(min(coarse, sum(traffic) + 1))
    per_product = rate * COARSE_TIME * coarse_bytes
    weight = max(1, floor(largest * per_product))
    factor = ceil(weight / per_product * (1 + 1e-15))

    most_time = MOST_UNITS // COARSE_TIME
    time = p.model.new_int_var(0, most_time, f"time{engine}")
    p.model.add(COARSE_TIME * time + COARSE_TIME - 1 >= p.load(engine)).only_enforce_if(draws)
    most_bytes = sum(traffic) // coarse_bytes
    others = p.model.new_int_var(0, most_bytes, f"others{engine}")
    elsewhere = sum(n * (1 - p.on_any(r, slots)) for r, n in enumerate(traffic) if n)
    p.model.add(coarse_bytes * others + coarse_bytes - 1 >= elsewhere).only_enforce_if(draws)
    most = min(most_time * most_bytes, floor((law.slope + 2) * MOST_UNITS / per_product) + 1)
    product = p.model.new_int_var(0, most, f"product{engine}")
    p.model.add_multiplication_equality(product, time, others)
    return factor, weight, product
