"""Cost tables of several models brought into one order of slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from edgeweave.partition.costs import CostTable, Transfer
from edgeweave.partition.errors import TableError
from edgeweave.partition.several.joint import ModelRequest

T = TypeVar("T")


def share_slots(models: Sequence[ModelRequest]) -> tuple[ModelRequest, ...]:
    """The models with their tables' slots in the order of the first.

    Raises TableError where a table's slots, its memory bandwidth or its law of contention are not
    those of the first: they would not be of one board.
    """
    first = models[0]
    found = []
    for model in models:
        own, wanted = set(model.table.slots), set(first.table.slots)
        if own != wanted:
            parts = [
                f"{word} {', '.join(sorted(map(str, slots)))}"
                for word, slots in (("lacks", wanted - own), ("adds", own - wanted))
                if slots
            ]
            raise TableError(
                f"model {model.name}",
                f"its slots are not those of {first.name}: it {' and '.join(parts)}",
                "Models that share a board state the same slots; refuse every region on those "
                "that a model cannot use",
            )
        _check_memory(first, model)
        found.append(replace(model, table=in_order(model.table, first.table)))
    return tuple(found)


def _check_memory(first: ModelRequest, model: ModelRequest) -> None:
    for what, one, other in (
        ("memory bandwidth", first.table.dram_bytes_per_s, model.table.dram_bytes_per_s),
        ("law of contention", first.table.contention, model.table.contention),
    ):
        if one and other and one != other:
            raise TableError(
                f"model {model.name}",
                f"its {what} is not that of {first.name}: {other}, not {one}",
                "Models that share a board share its memory; state it alike",
            )


def in_order(table: CostTable, like: CostTable) -> CostTable:
    """The table with its slots, and so its engines, in the order of another one with the same."""
    if table.slots == like.slots:
        return table
    order = [table.slots.index(slot) for slot in like.slots]
    engines = [table.engines.index(engine) for engine in like.engines]

    def square(
        rows: Sequence[Sequence[Transfer | None]],
    ) -> tuple[tuple[Transfer | None, ...], ...]:
        return tuple(_picked(rows[a], order) for a in order)

    return replace(
        table,
        slots=like.slots,
        costs=tuple(_picked(row, order) for row in table.costs),
        transfers=square(table.transfers),
        stage_overhead_s=_picked(table.stage_overhead_s, order),
        prices=tuple(None if rows is None else square(rows) for rows in table.prices),
        capacity_bytes=_picked(table.capacity_bytes, engines),
        engine_stages=_picked(table.engine_stages, engines),
        power_w=_picked(table.power_w, order),
    )


def _picked(row: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    return tuple(row[i] for i in order) if row else ()
