"""The vendor table of an engine: which tool compiles for it, and the tool's settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from edgeweave.targets.board import Engine
from edgeweave.targets.errors import TargetError
from edgeweave.targets.handoff.tools import TOOLS
from edgeweave.targets.handoff.tools.tool import Tool

# Values go into commands and scripts as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


def find_tool(engine: Engine) -> Tool | None:
    """The tool that the engine's ``vendor`` table names, None when there is no table.

    Raises TargetError for a tool or a key that is not known, for one that is missing, and for a
    value that the tool does not know.
    """
    vendor = engine.vendor
    if not vendor:
        return None
    subject = f"engine {engine.name}"
    if "tool" not in vendor:
        raise TargetError(subject, "vendor.tool is missing", _values(TOOLS))
    if vendor["tool"] not in TOOLS:
        reason = f"vendor.tool {vendor['tool']!r} is not known"
        raise TargetError(subject, reason, _choice(vendor["tool"], TOOLS))
    tool = TOOLS[vendor["tool"]]
    known = {**tool.required, **tool.optional}
    for key in tool.required:
        if key not in vendor:
            raise TargetError(
                subject,
                f"vendor.{key} is missing, which {tool.title} needs",
                _values(tool.required[key]) or f"Add {key} to the engine's vendor table",
            )
    for key, value in vendor.items():
        if key == "tool":
            continue
        if key not in known:
            reason = f"vendor.{key} is not known to the tool {tool.name}"
            raise TargetError(subject, reason, _choice(key, ("tool", *known)))
        if (known[key] and value not in known[key]) or not _PLAIN.fullmatch(value):
            raise TargetError(
                subject,
                f"vendor.{key} {value!r} is not a value of the tool {tool.name}",
                _values(known[key]) or "Use letters, digits and _ . / + - only",
            )
    return tool


def _values(known: Collection[str]) -> str:
    return f"Known are {', '.join(known)}" if known else ""


def _choice(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]}?" if close else _values(known)
