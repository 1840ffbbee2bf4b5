"""How a value's axes lie in a tensor: pure arithmetic on shapes and permutations.

A layout is what ``numpy.transpose`` is given to turn the ONNX value into the tensor: axis ``i`` of
the tensor is axis ``layout[i]`` of the value.
"""

from __future__ import annotations

from collections.abc import Sequence

Layout = tuple[int, ...]
Shape = tuple[int, ...]


def plain(rank: int) -> Layout:
    """The layout of a tensor that lies as ONNX has it."""
    return tuple(range(rank))


def channels_last(rank: int) -> Layout:
    """The layout that TFLite's image operators ask for: (N, C, H, W) as (N, H, W, C)."""
    return plain(rank) if rank < 3 else (0, *range(2, rank), 1)


def inverse(layout: Layout) -> Layout:
    """The permutation that turns the tensor back into the ONNX value."""
    return tuple(sorted(range(len(layout)), key=layout.__getitem__))


def permuted(shape: Sequence[int], layout: Layout) -> Shape:
    """The tensor's shape of a value of ``shape``."""
    return tuple(shape[axis] for axis in layout)


def same_order(shape: Sequence[int], one: Layout, other: Layout) -> bool:
    """Whether two layouts of a value differ in nothing but where axes of size 1 are."""
    return [a for a in one if shape[a] != 1] == [a for a in other if shape[a] != 1]


def reshaped(before: Shape, layout: Layout, after: Shape) -> Layout | None:
    """The layout in which a value of shape ``after`` lies in the memory of one of ``before``.

    A reshape splits and merges neighbouring axes. Where the axes that it merges or splits are
    neighbours in the tensor too, the tensor can be reshaped as it lies. None where it must be
    transposed first. Axes of size 1 stay in their places, since they may lie anywhere.
    """
    starts = {old[0]: (old, new) for old, new in _pieces(before, after)}
    order = [axis for axis in layout if before[axis] != 1]
    moved: list[int] = []
    while order:
        old, new = starts.get(order[0], ([], []))
        if not old or order[: len(old)] != old:
            return None
        moved += new
        order = order[len(old) :]
    rest = iter(moved)
    return tuple(axis if size == 1 else next(rest) for axis, size in enumerate(after))


def _pieces(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The axes above size 1 in the smallest groups that hold as many elements on both sides."""
    olds = [axis for axis, size in enumerate(before) if size != 1]
    news = [axis for axis, size in enumerate(after) if size != 1]
    pieces = []
    while olds:
        old, new = [olds.pop(0)], [news.pop(0)]
        left, right = before[old[0]], after[new[0]]
        while left != right:
            if left < right:
                old.append(olds.pop(0))
                left *= before[old[-1]]
            else:
                new.append(news.pop(0))
                right *= after[new[-1]]
        pieces.append((old, new))
    return pieces
