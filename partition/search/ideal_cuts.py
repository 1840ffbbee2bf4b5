"""All ideals of a graph with what a stage between any two of them takes, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.problem import Matrix, Problem
from edgeweave.partition.search.ideals import Items

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

WHOLE = 2.0**40
"""Units that the work of all regions is divided into where sums must be exact."""

BLOCK = 4096
"""Ideals that are looked at together where all of them would take too much memory."""

SLACK = 1e-9
"""Relative error that sums in another order may have."""


@dataclass(frozen=True)
class Cuts:
    """All ideals of the items with what a stage between two of them costs, as arrays.

    Ideals are sorted so that every one comes after those inside it. ``alone[i, s]``: seconds of
    item i on slot s. ``member[j, i]``: item i in ideal j; ``words`` the same as bits.
    ``fastest[j]``: seconds of ideal j's regions on their fastest slots, rounded down.
    ``work[s, j]`` and ``refused[s, j]``: seconds, and refusals, of ideal j's items on slot s.
    ``made[v, j]``: ideal j makes value v; ``read[v, j]``: how many of its items read it, of
    ``readers[v]``. ``receive[v, s]`` and ``send[v, s]`` are the least prices on slot s; as many
    columns more count the values that have no link.
    """

    problem: Problem
    items: Items
    alone: Array
    member: Array
    words: Array
    fastest: Array
    work: Array
    refused: Array
    memory: Array
    made: Array
    read: Array
    readers: Array
    receive: Array
    send: Array

    @property
    def count(self) -> int:
        """Number of ideals."""
        return len(self.member)

    @cached_property
    def forward(self) -> Array:
        """Values made in the ideal and read behind it: ``[value, ideal]``."""
        found: Array = self.made & (self.read < self.readers[:, None])
        return found

    @cached_property
    def back(self) -> Array:
        """Values made behind the ideal and read in it (feedback): ``[value, ideal]``."""
        found: Array = ~self.made & (self.read > 0)
        return found

    @cached_property
    def far(self) -> Array:
        """Per price and ideal, sending all that goes forward and receiving all that comes back."""
        found: Array = block_sums(self.forward.T, self.send).T
        if self.back.any():
            found = found + block_sums(self.back.T, self.receive).T
        return found

    def live(self, ideal: int) -> Array:
        """The values that the border of an ideal cuts, in either direction."""
        import numpy as np

        return np.flatnonzero(self.forward[:, ideal] | self.back[:, ideal])


def block_sums(rows: Array, weights: Array) -> Array:
    """``rows @ weights`` for rows of yes and no, in blocks: as floats they would not fit."""
    import numpy as np

    blocks = (rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK))
    return np.concatenate([block.astype(float) @ weights for block in blocks])


def make_cuts(problem: Problem, items: Items, ideals: list[int], most_s: float) -> Cuts:
    """The arrays for all ideals; values inside one item are left out.

    What alone takes more than ``most_s`` seconds counts as refused, or as having no link: sums and
    differences of figures of very different size would not be exact enough.
    """
    import numpy as np

    member, words, fastest = _sorted_ideals(problem, items, ideals)
    slots = range(problem.width)
    seconds = np.array(
        [[sum(problem.seconds[r][s] for r in group) for s in slots] for group in items.groups]
    )
    refused = seconds > most_s * (1 + SLACK)
    memory = [[sum(problem.memory_bytes[r] for r in group)] for group in items.groups]
    cut = _cut_values(problem, items)
    by_item = np.ascontiguousarray(member.T)
    read = np.zeros((len(cut), len(ideals)), np.uint16)
    for row, (_, _, readers) in enumerate(cut):
        for reader in readers:
            read[row] += by_item[reader]
    values = [i for i, _, _ in cut]
    receive = _least_prices(problem, [problem.price[i] for i in values], most_s, receive=True)
    send = _least_prices(problem, [problem.send[i] for i in values], most_s, receive=False)
    return Cuts(
        problem=problem,
        items=items,
        alone=np.where(refused, INFINITY, seconds),
        member=member,
        words=words,
        fastest=fastest,
        work=block_sums(member, np.where(refused, 0.0, seconds)).T,
        refused=block_sums(member, refused.astype(float)).T,
        memory=block_sums(member, np.array(memory, float))[:, 0],
        made=by_item[np.array([producer for _, producer, _ in cut], np.int64)],
        read=read,
        readers=np.array([len(readers) for _, _, readers in cut], np.uint16),
        receive=receive,
        send=send,
    )


def _sorted_ideals(problem: Problem, items: Items, ideals: list[int]) -> tuple[Array, Array, Array]:
    """The ideals as yes and no per item, as bits, and their seconds on the fastest slots.

    Sums of whole numbers are exact, so that an ideal is never sorted before one inside it. They
    are rounded down: no stage takes less than the difference.
    """
    import numpy as np

    size = len(items.groups)
    width = (size + 63) // 64 * 8
    bits = np.frombuffer(b"".join(i.to_bytes(width, "little") for i in ideals), np.uint8)
    packed = bits.reshape(len(ideals), width)
    member = np.unpackbits(packed, axis=1, bitorder="little")[:, :size].astype(bool)
    fast = np.array([sum(min(problem.seconds[r]) for r in group) for group in items.groups])
    unit = float(fast.sum()) / WHOLE
    whole = np.floor(fast / unit) if unit > 0 else np.zeros(size)
    done = block_sums(member, np.column_stack((whole, np.ones(size))))
    order = np.lexsort((done[:, 1], done[:, 0]))
    words = np.ascontiguousarray(packed[order]).view(np.uint64)
    return member[order], words, done[order, 0] * unit


def _cut_values(problem: Problem, items: Items) -> list[tuple[int, int, tuple[int, ...]]]:
    """Each value that a border between items can cut: its index, its item, those that read it."""
    found = []
    for i, value in enumerate(problem.values):
        source = items.item_of[value.producer]
        readers = sorted({items.item_of[c] for c in value.consumers} - {source})
        if readers:
            found.append((i, source, tuple(readers)))
    return found


def _least_prices(
    problem: Problem, prices: Sequence[Matrix], most_s: float, *, receive: bool
) -> Array:
    """For each value and slot the least price from, or to, any other engine.

    Where prices depend on both ends this is less than the true one, and what is found is a bound.
    Values without a link are counted in columns of their own, and have the price 0.
    """
    import numpy as np

    slots, engine_of = range(problem.width), problem.engine_of
    others = [[t for t in slots if engine_of[t] != engine_of[s]] for s in slots]
    known: dict[int, list[float]] = {}  # equal prices are one object
    for matrix in prices:
        if id(matrix) not in known:
            known[id(matrix)] = [
                min((matrix[t][s] if receive else matrix[s][t] for t in others[s]), default=0.0)
                for s in slots
            ]
    least = np.array([known[id(matrix)] for matrix in prices]).reshape(len(prices), len(slots))
    unlinked = least > most_s * (1 + SLACK)
    return np.hstack((np.where(unlinked, 0.0, least), unlinked))
