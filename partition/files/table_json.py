"""Cost tables in the public JSON format of docs/cost-table.md: read and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeweave.partition.costs import Cost, CostTable, Source
from edgeweave.partition.errors import TableError
from edgeweave.partition.files.json_field import Field, read_json
from edgeweave.partition.files.table_links import links_to_json
from edgeweave.partition.files.table_reader import SCHEMA_VERSION, TableReader, slot_names
from edgeweave.targets.backend import Refusal

SCHEMA = Path(__file__).with_name("cost_table.schema.json")
"""The format as a JSON schema: shapes and names of fields, not what they refer to."""


def read_table(source: Path | Mapping[str, Any]) -> CostTable:
    """The cost table of a JSON file, or of its data.

    Regions may stand in any order; the table holds them so that each stands behind what it reads,
    and otherwise in the order of the file. Raises TableError with the path to the field that is
    wrong, and PartitionError when no slot takes a region.
    """
    if isinstance(source, Path):
        document = Field(str(source), "", read_json(source))
    else:
        document = Field("cost table", "", source)
    try:
        return TableReader(document).table()
    except RecursionError as error:
        raise TableError(document.source, "is nested too deeply") from error


def table_to_json(table: CostTable) -> dict[str, Any]:
    """The cost table as JSON data; :func:`read_table` makes an equal table of it."""
    names = slot_names(table.slots)
    data: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "slots": _slots(table),
        "regions": [_region(table, r, names) for r in range(len(table.regions))],
        "values": [_value(table, i, names) for i in range(len(table.values))],
        "links": links_to_json(table.transfers, names),
        "dram_bytes_per_s": table.dram_bytes_per_s,
    }
    if table.colocated:
        data["colocated"] = [[table.regions[r] for r in group] for group in table.colocated]
    if table.contention is not None:
        contention = table.contention
        data["contention"] = {
            "knee_bytes_per_s": contention.knee_bytes_per_s,
            "slope": contention.slope,
        }
    return data


def _slots(table: CostTable) -> list[dict[str, Any]]:
    """The slots; what holds for an engine stands at its first slot."""
    seen: set[str] = set()
    found = []
    for s, slot in enumerate(table.slots):
        entry: dict[str, Any] = {"engine": slot.engine, "backend": slot.backend}
        if table.stage_overhead_s[s]:
            entry["stage_overhead_s"] = table.stage_overhead_s[s]
        if table.power_w:
            entry["power_w"] = table.power_w[s]
        if slot.engine not in seen:
            engine = table.engines.index(slot.engine)
            if table.capacity_bytes:
                entry["capacity_bytes"] = table.capacity_bytes[engine]
            if table.engine_stages:
                entry["max_stages"] = table.engine_stages[engine]
        seen.add(slot.engine)
        found.append(entry)
    return found


def _region(table: CostTable, r: int, names: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": table.regions[r]}
    if table.memory_bytes:
        entry["memory_bytes"] = table.memory_bytes[r]
    if table.dram_bytes[r]:
        entry["dram_bytes"] = table.dram_bytes[r]
    entry["costs"] = {name: _cost(cost) for name, cost in zip(names, table.costs[r], strict=True)}
    return entry


def _cost(cost: Cost | Refusal) -> float | dict[str, Any]:
    if isinstance(cost, Refusal):
        return {"refused": cost.rule, "reason": cost.reason}
    if cost.source is Source.GIVEN:
        return cost.seconds
    return {"seconds": cost.seconds, "source": cost.source.value}


def _value(table: CostTable, i: int, names: list[str]) -> dict[str, Any]:
    value = table.values[i]
    entry: dict[str, Any] = {
        "name": value.name,
        "producer": None if value.producer is None else table.regions[value.producer],
        "consumers": [table.regions[c] for c in value.consumers],
        "bytes": value.nbytes,
    }
    if value.feedback:
        entry["feedback"] = True
    if value.is_output:
        entry["is_output"] = True
    if table.prices:
        prices = table.prices[i]
        entry["links"] = None if prices is None else links_to_json(prices, names)
    return entry
