"""What a user demands of a plan beyond its numbers, put into the cost table.

Placed and avoided regions become refusals, so that every search and every explanation knows them
without knowing of demands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from edgeweave.partition.costs import Cost, CostTable
from edgeweave.partition.errors import TableError
from edgeweave.partition.files.json_field import nearest
from edgeweave.targets.backend import Refusal

PLACE = "request.place"
AVOID = "request.avoid"


@dataclass(frozen=True)
class Demand:
    """Regions and ``engine`` or ``engine/backend``, each by name or by a pattern with ``*``."""

    regions: str
    slot: str

    def __str__(self) -> str:
        return f"{self.regions}={self.slot}"


@dataclass(frozen=True)
class Constraints:
    """Where regions must and must not go, which share an engine, and stages per engine.

    ``together`` are groups of ids or patterns. ``engine_stages`` is the most stages of one plan on
    any engine (None: what the table says).
    """

    place: tuple[Demand, ...] = ()
    avoid: tuple[Demand, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    engine_stages: int | None = None


def constrain(table: CostTable, constraints: Constraints) -> CostTable:
    """The table under the constraints; the same table where there are none.

    A refusal of the table keeps its own rule. Raises TableError for names it does not hold.
    """
    costs = [list(row) for row in table.costs]
    for demand in constraints.place:
        wanted = _slots(table, "place", demand)
        refusal = Refusal(PLACE, f"the request places it on {demand.slot}")
        _refuse(table, costs, "place", demand, set(range(len(table.slots))) - wanted, refusal)
    for demand in constraints.avoid:
        refusal = Refusal(AVOID, f"the request keeps it off {demand.slot}")
        _refuse(table, costs, "avoid", demand, _slots(table, "avoid", demand), refusal)
    return replace(
        table,
        costs=tuple(tuple(row) for row in costs),
        colocated=(*table.colocated, *(_group(table, names) for names in constraints.together)),
        engine_stages=_engine_stages(table, constraints.engine_stages),
    )


def _refuse(
    table: CostTable,
    costs: Sequence[list[Cost | Refusal]],
    verb: str,
    demand: Demand,
    slots: set[int],
    refusal: Refusal,
) -> None:
    for region in _regions(table, f"{verb} {demand}", demand.regions):
        for slot in slots:
            if isinstance(costs[region][slot], Cost):
                costs[region][slot] = refusal


def _regions(table: CostTable, subject: str, pattern: str) -> list[int]:
    """The regions of an id or a pattern, ascending."""
    if pattern in table.regions:
        return [table.regions.index(pattern)]
    found = [r for r, name in enumerate(table.regions) if fnmatchcase(name, pattern)]
    if not found:
        raise TableError(
            subject, f"there is no region {pattern!r}{nearest(pattern, table.regions)}"
        )
    return found


def _slots(table: CostTable, verb: str, demand: Demand) -> set[int]:
    wanted = demand.slot
    found = {
        s
        for s, slot in enumerate(table.slots)
        if fnmatchcase(slot.engine, wanted) or fnmatchcase(str(slot), wanted)
    }
    if not found:
        names = [*table.engines, *map(str, table.slots)]
        raise TableError(
            f"{verb} {demand}", f"there is no engine or slot {wanted!r}{nearest(wanted, names)}"
        )
    return found


def _group(table: CostTable, names: tuple[str, ...]) -> tuple[int, ...]:
    subject = f"together {','.join(names)}"
    group = tuple(dict.fromkeys(r for name in names for r in _regions(table, subject, name)))
    if len(group) < 2:
        raise TableError(subject, "one region alone is always together", "Name two regions")
    return group


def _engine_stages(table: CostTable, most: int | None) -> tuple[int | None, ...]:
    if most is None:
        return table.engine_stages
    stated = table.engine_stages or (None,) * len(table.engines)
    return tuple(most if limit is None else min(limit, most) for limit in stated)
