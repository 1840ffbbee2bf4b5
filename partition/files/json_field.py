"""Reading JSON strictly: every complaint names the file and the path to the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgeweave.partition.errors import TableError

MAX_BYTES = 256 * 2**20
"""Larger files are refused unread: far above any table that can be planned."""

INFINITY = float("inf")
_SHOWN = 60  # characters of a wrong value that an error repeats


class _Doubled(dict[str, Any]):
    """An object of which one field was written twice."""

    def __init__(self, pairs: Sequence[tuple[str, Any]], twice: str) -> None:
        super().__init__(pairs)
        self.twice = twice


def read_json(path: Path) -> Any:
    """The data of a JSON file; TableError for what is no file, no text or no JSON."""
    source = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TableError(source, f"cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise TableError(source, f"is larger than {MAX_BYTES // 2**20} MiB")
    try:
        return _parsed(source, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TableError(source, "is no text, so no JSON") from error


def _parsed(source: str, text: str) -> Any:
    if not text.strip():
        raise TableError(source, "is empty")
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise TableError(
            source, f"line {error.lineno}, column {error.colno}: is no JSON ({error.msg})"
        ) from error
    except RecursionError as error:
        raise TableError(source, "is nested too deeply") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise TableError(source, "holds a number that is too long") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    return _Doubled(pairs, next(name for name in names if names.count(name) > 1))


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean a or b?``, or the names that there are when they are few, or nothing."""
    names = sorted(set(known))
    close = [n for n in names if name and n.startswith(name)][:3]
    close = close or get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= 8 else ""


@dataclass(frozen=True)
class Field:
    """A value of a JSON document and where it stands; every method that fails raises TableError.

    ``source`` names the document, ``path`` is as in ``regions[12].costs.npu0``, "" for all of it.
    """

    source: str
    path: str
    value: Any

    def wrong(self, reason: str) -> TableError:
        """The error that this field is wrong."""
        return TableError(self.source, f"{self.path or 'the document'}: {reason}")

    def at(self, name: str) -> str:
        """The path of a field of this object."""
        if not name.isidentifier():
            return f"{self.path}[{json.dumps(name, ensure_ascii=False)}]"
        return f"{self.path}.{name}" if self.path else name

    @property
    def is_null(self) -> bool:
        """Whether null stands here."""
        return self.value is None

    def entries(self) -> dict[str, Field]:
        """The fields of an object, whatever their names."""
        if not isinstance(self.value, Mapping):
            raise self._unlike("an object")
        if isinstance(self.value, _Doubled):
            raise TableError(self.source, f"{self.at(self.value.twice)}: is written twice")
        found = {}
        for name, value in self.value.items():
            if not isinstance(name, str):
                raise self.wrong(f"{name!r} is no name of a field")
            found[name] = Field(self.source, self.at(name), value)
        return found

    def fields(self, required: Sequence[str], optional: Sequence[str]) -> dict[str, Field]:
        """The fields of an object that may hold these and no others."""
        found = self.entries()
        known = (*required, *optional)
        for name, field in found.items():
            if name not in known:
                raise field.wrong(f"is not a known field{nearest(name, known)}")
        for name in required:
            if name not in found:
                raise TableError(self.source, f"{self.at(name)}: is missing")
        return found

    def items(self) -> list[Field]:
        """The values of a list."""
        if not isinstance(self.value, Sequence) or isinstance(self.value, str | bytes):
            raise self._unlike("a list")
        return [Field(self.source, f"{self.path}[{i}]", v) for i, v in enumerate(self.value)]

    def text(self) -> str:
        """A string that is not empty."""
        if not isinstance(self.value, str):
            raise self._unlike("a string")
        if not self.value.strip():
            raise self.wrong("is an empty string")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self._unlike("true or false")
        return self.value

    def number(self) -> float:
        """A finite number that is not negative."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self._unlike("a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = INFINITY
        if number != number or abs(number) == INFINITY:
            raise self.wrong(f"{self._shown()} is not a finite number")
        if number < 0:
            raise self.wrong(f"{self._shown()} is negative")
        return number

    def count(self) -> int:
        """A whole number that is not negative; ``1e6`` is one too."""
        number = self.number()
        if not number.is_integer():
            raise self.wrong(f"{self._shown()} is not a whole number")
        return int(self.value)

    def optional(self, read: Callable[[Field], Any]) -> Any:
        """None for null, and what ``read`` makes of anything else."""
        return None if self.is_null else read(self)

    def _unlike(self, wanted: str) -> TableError:
        return self.wrong(f"{self._shown()} is not {wanted}")

    def _shown(self) -> str:
        if self.value is None:
            return "null"
        if isinstance(self.value, Mapping):
            return "an object"
        if isinstance(self.value, Sequence) and not isinstance(self.value, str):
            return "a list"
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return "a number of very many digits" if abs(self.value) > 10**40 else str(self.value)
        try:
            text = json.dumps(self.value, ensure_ascii=False)
        except TypeError:
            text = repr(self.value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
