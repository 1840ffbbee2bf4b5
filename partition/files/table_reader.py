"""Reading the public format of cost tables (docs/cost-table.md): fields, names and order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from heapq import heappop, heappush

from edgeweave.partition.contention import Contention
from edgeweave.partition.costs import Cost, CostTable, Source
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.files.json_field import Field, nearest
from edgeweave.partition.files.table_links import Links, read_links, read_source
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

SCHEMA_VERSION = 1
DEFAULT_BACKEND = "given"
"""The backend of a slot that names none, as in a table of one backend per engine."""

NO_COST = Refusal("table.no-cost", "the table states no cost here")
"""Stands where a table says nothing about a region on a slot."""

_TABLE = ("schema_version", "slots", "regions")
_TABLE_OPTIONAL = (
    "description", "values", "links", "dram_bytes_per_s", "colocated", "contention",
)  # fmt: skip
_SLOT = ("backend", "stage_overhead_s", "power_w", "capacity_bytes", "max_stages")


class TableReader:
    """One document on its way to a table. Regions are counted as in the file until the end."""

    def __init__(self, document: Field) -> None:
        self.document = document
        self.known_links: dict[str, Links] = {}
        # another version may have other fields, so its number is what is wrong with it
        version = document.entries().get("schema_version")
        if version is not None and (type(version.value), version.value) != (int, SCHEMA_VERSION):
            raise version.wrong(f"this edgeweave reads version {SCHEMA_VERSION} only")
        self.fields = document.fields(_TABLE, _TABLE_OPTIONAL)
        if "description" in self.fields:
            self.fields["description"].text()
        self.slots, self.slot_fields = self._slots()
        self.slot_index = {name: s for s, name in enumerate(slot_names(self.slots))}
        self.capacity_bytes = self._per_engine("capacity_bytes", 0)
        self.engine_stages = self._per_engine("max_stages", 1)
        self.regions = self.fields["regions"].items()
        self.region_fields = [
            field.fields(["id", "costs"], ["memory_bytes", "dram_bytes"]) for field in self.regions
        ]
        self.index = _unique([fields["id"] for fields in self.region_fields])

    def table(self) -> CostTable:
        """The table, its regions in topological order."""
        costs = [self._costs(fields["costs"]) for fields in self.region_fields]
        values = [self._value(i, field) for i, field in enumerate(self._list("values"))]
        order = self._order([value for value, _ in values])
        rank = {region: position for position, region in enumerate(order)}
        return CostTable(
            regions=tuple(self.region_fields[r]["id"].text() for r in order),
            slots=self.slots,
            costs=tuple(costs[r] for r in order),
            values=tuple(_renumbered(value, rank) for value, _ in values),
            transfers=self._transfers([links for _, links in values]),
            stage_overhead_s=tuple(
                fields["stage_overhead_s"].number() if "stage_overhead_s" in fields else 0.0
                for fields in self.slot_fields
            ),
            dram_bytes=self._region_bytes("dram_bytes", order),
            dram_bytes_per_s=self._bandwidth(),
            prices=self._prices([links for _, links in values]),
            memory_bytes=(
                self._region_bytes("memory_bytes", order)
                if any("memory_bytes" in fields for fields in self.region_fields)
                else ()
            ),
            capacity_bytes=self.capacity_bytes,
            engine_stages=self.engine_stages,
            colocated=self._colocated(rank),
            power_w=self._powers(),
            contention=self._contention(),
        )

    def _list(self, name: str) -> list[Field]:
        return self.fields[name].items() if name in self.fields else []

    def _slots(self) -> tuple[tuple[Slot, ...], list[dict[str, Field]]]:
        slots: list[Slot] = []
        stated = []
        for field in self.fields["slots"].items():
            fields = {} if isinstance(field.value, str) else field.fields(["engine"], _SLOT)
            engine = fields["engine"].text() if fields else field.text()
            backend = fields["backend"].text() if "backend" in fields else None
            if not fields:
                engine, _, named = engine.partition("/")
                backend = named or None
            if not engine or "/" in engine:
                raise fields.get("engine", field).wrong(f"{engine!r} is no name of an engine")
            slot = Slot(engine, backend or DEFAULT_BACKEND)
            if slot in slots:
                raise field.wrong(
                    f"{slot} is listed twice; slots of one engine need unlike backends"
                )
            slots.append(slot)
            stated.append(fields)
        if not slots:
            raise self.fields["slots"].wrong("the list is empty")
        return tuple(slots), stated

    def _slot(self, field: Field, name: str) -> int:
        """The slot of that name: ``engine/backend``, or the engine where it has one backend."""
        if name in self.slot_index:
            return self.slot_index[name]
        engine, _, backend = name.partition("/")
        found = [
            s
            for s, slot in enumerate(self.slots)
            if slot.engine == engine and backend in ("", slot.backend)
        ]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            names = [str(self.slots[s]) for s in found]
            raise field.wrong(f"{engine} has several backends; write {' or '.join(names)}")
        raise field.wrong(f"there is no slot {name!r}{nearest(name, slot_names(self.slots))}")

    def _slots_like(self, field: Field) -> list[int]:
        """The slots of a name, a pattern or a list of them."""
        if isinstance(field.value, list | tuple):
            return sorted({s for item in field.items() for s in self._slots_matching(item)})
        return self._slots_matching(field)

    def _slots_matching(self, field: Field) -> list[int]:
        """The slots of a name or a pattern."""
        pattern = field.text()
        if not any(sign in pattern for sign in "*?["):
            return [self._slot(field, pattern)]
        found = [
            s
            for s, slot in enumerate(self.slots)
            if fnmatchcase(slot.engine, pattern) or fnmatchcase(str(slot), pattern)
        ]
        if not found:
            raise field.wrong(f"{pattern!r} matches no slot")
        return found

    def _costs(self, field: Field) -> tuple[Cost | Refusal, ...]:
        row: list[Cost | Refusal] = [NO_COST] * len(self.slots)
        by: dict[int, str] = {}
        for name, entry in field.entries().items():
            slot = self._slot(entry, name)
            if slot in by:
                raise entry.wrong(f"is the same slot as {by[slot]}")
            by[slot] = name
            row[slot] = _cost(entry)
        if all(isinstance(cost, Refusal) for cost in row):
            reasons = "; ".join(
                f"{slot}: {cost.reason} [{cost.rule}]"
                for slot, cost in zip(self.slots, row, strict=True)
                if isinstance(cost, Refusal)
            )
            raise PartitionError(
                field.source,
                f"{field.path}: no slot takes this region ({reasons})",
                "State a cost for at least one slot",
            )
        return tuple(row)

    def _region(self, field: Field) -> int:
        name = field.text()
        if name not in self.index:
            raise field.wrong(f"there is no region {name!r}{nearest(name, self.index)}")
        return self.index[name]

    def _value(self, position: int, field: Field) -> tuple[Value, Links | None]:
        """A value with region indices of the file, and its own prices (None: it has none)."""
        fields = field.fields(
            ["producer", "consumers"], ["name", "bytes", "feedback", "is_output", "links"]
        )
        producer = fields["producer"].optional(self._region)
        readers: list[int] = []
        feedback = "feedback" in fields and fields["feedback"].flag()
        for item in fields["consumers"].items():
            region = self._region(item)
            if region in readers:
                raise item.wrong(f"{item.value!r} is listed twice")
            if region == producer and not feedback:
                raise item.wrong(f"{item.value!r} would read what it makes itself")
            readers.append(region)
        value = Value(
            name=fields["name"].text() if "name" in fields else f"v{position}",
            producer=producer,
            consumers=tuple(readers),
            nbytes=fields["bytes"].count() if "bytes" in fields else 0,
            is_output="is_output" in fields and fields["is_output"].flag(),
            feedback=feedback,
        )
        own = fields["links"].optional(self._links) if "links" in fields else None
        return value, own

    def _links(self, field: Field) -> Links:
        """Equal lists of links are read once, and are one object."""
        written = repr(field.value)
        if written not in self.known_links:
            self.known_links[written] = read_links(field, len(self.slots), self._slots_like)
        return self.known_links[written]

    def _transfers(self, own: Sequence[Links | None]) -> Links:
        if "links" in self.fields:
            return self._links(self.fields["links"])
        if len(self.slots) > 1 and any(links is None for links in own):
            raise Field(self.document.source, "links", None).wrong(
                "is missing: there are several slots, and values without links of their own; "
                "[] says that nothing can be handed from slot to slot"
            )
        return self._links(Field("", "links", []))

    def _prices(self, own: Sequence[Links | None]) -> tuple[Links | None, ...]:
        stated = any("links" in field.value for field in self._list("values"))
        return tuple(own) if stated else ()

    def _order(self, values: Sequence[Value]) -> list[int]:
        """The regions, each behind what it reads, otherwise as in the file."""
        after: list[list[tuple[int, int]]] = [[] for _ in self.regions]
        waits = [0] * len(self.regions)
        for i, value in enumerate(values):
            if value.producer is None or value.feedback:
                continue
            for reader in value.consumers:
                after[value.producer].append((reader, i))
                waits[reader] += 1
        ready = [r for r, count in enumerate(waits) if not count]
        order: list[int] = []
        while ready:
            region = heappop(ready)
            order.append(region)
            for reader, _ in after[region]:
                waits[reader] -= 1
                if not waits[reader]:
                    heappush(ready, reader)
        if len(order) < len(waits):
            raise self._cycle(after, {r for r, count in enumerate(waits) if count})
        return order

    def _cycle(self, after: Sequence[Sequence[tuple[int, int]]], stuck: set[int]) -> Exception:
        before = {r: (a, i) for a in sorted(stuck) for r, i in after[a] if r in stuck}
        way = [min(before)]
        while way[-1] not in way[:-1]:
            way.append(before[way[-1]][0])
        way = way[way.index(way[-1]) :][::-1]
        names = " -> ".join(self.region_fields[r]["id"].text() for r in way)
        value = self.fields["values"].items()[before[way[1]][1]]
        return value.wrong(
            f"is part of the cycle {names}; what is read in a later frame is a feedback value"
        )

    def _region_bytes(self, name: str, order: Sequence[int]) -> tuple[int, ...]:
        every = (self.region_fields[r] for r in order)
        return tuple(fields[name].count() if name in fields else 0 for fields in every)

    def _bandwidth(self) -> float:
        moving = [f["dram_bytes"] for f in self.region_fields if "dram_bytes" in f]
        if "dram_bytes_per_s" not in self.fields:
            if any(field.count() for field in moving):
                missing = Field(self.document.source, "dram_bytes_per_s", None)
                raise missing.wrong("is missing, and regions state dram_bytes")
            return 0.0
        bandwidth = self.fields["dram_bytes_per_s"].number()
        if bandwidth == 0 and any(field.count() for field in moving):
            raise self.fields["dram_bytes_per_s"].wrong("is 0, and regions state dram_bytes")
        return bandwidth

    def _per_engine(self, name: str, least: int) -> tuple[int | None, ...]:
        """A limit of each engine; empty where no slot states it."""
        stated: dict[str, int | None] = {}
        for slot, fields in zip(self.slots, self.slot_fields, strict=True):
            if name not in fields:
                continue
            limit = fields[name].optional(Field.count)
            if limit is not None and limit < least:
                raise fields[name].wrong(f"{limit} is below {least}")
            if stated.setdefault(slot.engine, limit) != limit:
                raise fields[name].wrong(f"{slot.engine} has another one at an earlier slot")
        engines = dict.fromkeys(slot.engine for slot in self.slots)
        return tuple(stated.get(engine) for engine in engines) if stated else ()

    def _powers(self) -> tuple[float | None, ...]:
        if not any("power_w" in fields for fields in self.slot_fields):
            return ()
        return tuple(
            fields["power_w"].optional(Field.number) if "power_w" in fields else None
            for fields in self.slot_fields
        )

    def _colocated(self, rank: Mapping[int, int]) -> tuple[tuple[int, ...], ...]:
        groups = []
        for field in self._list("colocated"):
            group: list[int] = []
            for item in field.items():
                region = rank[self._region(item)]
                if region in group:
                    raise item.wrong(f"{item.value!r} is listed twice")
                group.append(region)
            if len(group) < 2:
                raise field.wrong("a group needs two regions")
            groups.append(tuple(group))
        return tuple(groups)

    def _contention(self) -> Contention | None:
        if "contention" not in self.fields or self.fields["contention"].is_null:
            return None
        fields = self.fields["contention"].fields(["knee_bytes_per_s"], ["slope"])
        knee = fields["knee_bytes_per_s"].number()
        if knee == 0:
            raise fields["knee_bytes_per_s"].wrong("0 is no bandwidth")
        return Contention(knee, fields["slope"].number() if "slope" in fields else 1.0)


def slot_names(slots: Sequence[Slot]) -> list[str]:
    """What slots are called: by their engine alone where it has one backend."""
    engines = [slot.engine for slot in slots]
    return [slot.engine if engines.count(slot.engine) == 1 else str(slot) for slot in slots]


def _cost(field: Field) -> Cost | Refusal:
    if field.is_null:
        return NO_COST
    if not isinstance(field.value, Mapping):
        return Cost(field.number(), Source.GIVEN)
    if "refused" in field.value:
        fields = field.fields(["refused"], ["reason"])
        reason = fields["reason"].text() if "reason" in fields else "the table refuses it"
        return Refusal(fields["refused"].text(), reason)
    fields = field.fields(["seconds"], ["source"])
    return Cost(fields["seconds"].number(), read_source(fields))


def _unique(fields: Sequence[Field]) -> dict[str, int]:
    """The position of each name; TableError for one that stands twice."""
    index: dict[str, int] = {}
    for position, field in enumerate(fields):
        name = field.text()
        if name in index:
            raise field.wrong(f"{name!r} is also the id of {fields[index[name]].path[:-3]}")
        index[name] = position
    return index


def _renumbered(value: Value, rank: Mapping[int, int]) -> Value:
    producer = None if value.producer is None else rank[value.producer]
    consumers = tuple(sorted(rank[c] for c in value.consumers))
    return replace(value, producer=producer, consumers=consumers)
