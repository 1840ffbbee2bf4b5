"""Plain text for people: durations, sizes, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

DASH = "-"


def duration(seconds: float | None) -> str:
    """``12.3 ms``: three significant digits or whole numbers; a dash for None."""
    if seconds is None:
        return DASH
    if seconds == 0:
        return "0 ms"
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if abs(seconds) * scale < 999.5:
            return f"{digits(seconds * scale)} {unit}"
    return f"{digits(seconds)} s"


def digits(value: float) -> str:
    """Three significant digits, or all of a longer whole number."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def size(nbytes: int) -> str:
    """A number of bytes: ``512 bytes``, ``1.20 MiB``."""
    for unit, scale in (("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= scale:
            return f"{digits(nbytes / scale)} {unit}"
    return f"{nbytes} bytes"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of columns; a column that holds nothing but figures is aligned to the right."""
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    widths = [max(len(h), *map(len, c)) for h, c in zip(headers, columns, strict=True)]
    right = [all(_is_figure(cell) for cell in column) for column in columns]
    for line in (headers, *rows):
        cells = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()


def _is_figure(cell: str) -> bool:
    return cell in ("", DASH) or cell.removeprefix("-")[:1].isdigit()


def counted(number: int, noun: str) -> str:
    """``1 region``, ``2 regions``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
