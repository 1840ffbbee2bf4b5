"""Prices between slots as JSON: entries for pairs of slots, and the matrix they amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeweave.partition.costs import Source, Transfer
from edgeweave.partition.files.json_field import Field, nearest

Links = tuple[tuple[Transfer | None, ...], ...]
"""``links[a][b]``: what handing a value from slot ``a`` to slot ``b`` costs; None: no link."""

FREE = Transfer(0.0, 0.0, Source.GIVEN)
"""From a slot to itself, unless an entry for that pair alone says otherwise."""

EVERY = "*"
_PRICES = ("fixed_s", "s_per_byte", "send_fixed_s", "send_s_per_byte")


def read_links(field: Field, width: int, slots_like: Callable[[Field], list[int]]) -> Links:
    """The matrix of a list of entries.

    A later entry replaces an earlier one for the pairs that both name; a pair that none names has
    no link. ``slots_like`` gives the slots that a name, a pattern or a list of them stands for.
    """
    rows: list[list[Transfer | None]] = [[None] * width for _ in range(width)]
    for slot in range(width):
        rows[slot][slot] = FREE
    for entry in field.items():
        fields = entry.fields(["from", "to"], [*_PRICES, "both_ways", "joined", "source"])
        price = _price(fields)
        senders, readers = slots_like(fields["from"]), slots_like(fields["to"])
        both = "both_ways" in fields and fields["both_ways"].flag()
        alone = len(senders) == len(readers) == 1
        for a in senders:
            for b in readers:
                if a != b or alone:
                    rows[a][b] = price
                if a != b and both:
                    rows[b][a] = price
    return tuple(tuple(row) for row in rows)


def _price(fields: Mapping[str, Field]) -> Transfer | None:
    if "joined" in fields and not fields["joined"].flag():
        for name in (*_PRICES, "source"):
            if name in fields:
                raise fields[name].wrong("slots that are not joined have no price")
        return None
    given = [fields[name].number() if name in fields else 0.0 for name in _PRICES]
    return Transfer(given[0], given[1], read_source(fields), given[2], given[3])


def read_source(fields: Mapping[str, Field]) -> Source:
    """Where a figure comes from, by the field ``source``; ``given`` without it."""
    if "source" not in fields:
        return Source.GIVEN
    field = fields["source"]
    word = field.text()
    known = [source.value for source in Source]
    if word not in known:
        raise field.wrong(f"{word!r} is no source{nearest(word, known)}")
    return Source(word)


def links_to_json(links: Sequence[Sequence[Transfer | None]], slots: Sequence[str]) -> list[Any]:
    """Entries that :func:`read_links` makes the matrix of, pairs of one price joined."""
    blocks: list[tuple[Transfer, set[int], set[int]]] = []
    for a, row in enumerate(links):
        for price in dict.fromkeys(p for b, p in enumerate(row) if p is not None and a != b):
            readers = {b for b, p in enumerate(row) if p == price and a != b}
            _join(blocks, links, price, a, readers)
    entries = [_entry(price, _names(a, slots), _names(b, slots)) for price, a, b in blocks]
    for slot, row in enumerate(links):
        if row[slot] != FREE:
            entries.append(_entry(row[slot], slots[slot], slots[slot]))
    return entries


def _join(
    blocks: list[tuple[Transfer, set[int], set[int]]],
    links: Sequence[Sequence[Transfer | None]],
    price: Transfer,
    a: int,
    readers: set[int],
) -> None:
    """Add a row's pairs of one price to a block of that price that stays a product, or alone.

    A pair of a slot with itself may be part of a product: a product does not price it.
    """
    for known, senders, targets in blocks:
        wider = targets | readers
        if known == price and all(
            links[s][t] == price for s in (*senders, a) for t in wider if s != t
        ):
            senders.add(a)
            targets |= readers
            return
    blocks.append((price, {a}, readers))


def _names(found: set[int], slots: Sequence[str]) -> str | list[str]:
    if len(found) == len(slots) > 1:
        return EVERY
    names = [slots[s] for s in sorted(found)]
    return names[0] if len(names) == 1 else names


def _entry(price: Transfer | None, senders: Any, readers: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"from": senders, "to": readers}
    if price is None:
        return entry | {"joined": False}
    entry |= {name: getattr(price, name) for name in _PRICES if getattr(price, name)}
    if price.source is not Source.GIVEN:
        entry["source"] = price.source.value
    return entry
