"""Reading JSON that came over the network: nothing in it is taken on trust."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
_LONGEST_TEXT = 500  # characters of any one text
_LARGEST = 1e15


class MalformedReplyError(ValueError):
    """A reply is no JSON, or not of the form it should have; the text says where."""


@dataclass(frozen=True)
class Part:
    """A value of a reply and its path there; every method raises MalformedReplyError."""

    path: str
    value: Any

    def wrong(self, wanted: str) -> MalformedReplyError:
        """The error that something else should stand here."""
        return MalformedReplyError(f"{self.path} is not {wanted}")

    def __getitem__(self, name: str) -> Part:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        if name not in self.value:
            raise MalformedReplyError(f"{self.path} has no {name!r}")
        return Part(f"{self.path}.{name}", self.value[name])

    def entries(self) -> dict[str, Part]:
        """An object with any names."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return {printable(name): Part(f"{self.path}.{printable(name)}", v)
                for name, v in self.value.items()}  # fmt: skip

    def items(self) -> list[Part]:
        """A list."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Part(f"{self.path}[{i}]", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        """A text of one line that can be printed."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return printable(self.value)

    def exact_text(self) -> str:
        """A text that is sent back as it is: of printable characters and without spaces."""
        if not isinstance(self.value, str) or not self.value.isascii():
            raise self.wrong("a text of plain characters")
        if not self.value.isprintable() or " " in self.value or len(self.value) > _LONGEST_TEXT:
            raise self.wrong("a short text of plain characters")
        return self.value

    def number(self) -> float:
        """A number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number")
        if not abs(self.value) <= _LARGEST or not math.isfinite(self.value):
            raise self.wrong("a number of a sensible size")
        return float(self.value)

    def count(self) -> int:
        """A whole number, not below zero."""
        found = self.number()
        if found < 0 or not found.is_integer():
            raise self.wrong("a whole number above zero")
        return int(found)

    def optional(self, read: Callable[[Part], _T]) -> _T | None:
        """None for null, else what ``read`` makes of it."""
        return None if self.value is None else read(self)


def printable(text: str) -> str:
    """The text in one line, without what a terminal would not show, and not endless."""
    line = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


def parse(data: bytes, name: str) -> Part:
    """The JSON of a reply, which errors call ``name``."""
    try:
        return Part(name, json.loads(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"{name} is no JSON") from error
