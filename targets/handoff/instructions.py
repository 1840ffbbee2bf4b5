"""HANDOFF.md and handoff.json: what is still to be done, for people and for scripts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgeweave.targets.handoff.tools.tool import QDQ_MODEL, Recipe, Tool

JSON_NAME, TEXT_NAME = "handoff.json", "HANDOFF.md"


def options(tool: Tool, recipe: Recipe) -> dict[str, Any]:
    """What the manifest says of the stage: the step that is left, and that it was not done."""
    return {
        "tool": tool.name,
        "step": " && ".join(step.command for step in recipe.steps),
        "produces": recipe.steps[-1].produces,
        "done": False,
    }


def as_json(
    stage: str, engine: str, tool: Tool, recipe: Recipe, files: Mapping[str, bytes]
) -> bytes:
    """The hand-over as JSON; ``files`` are all that the commands read."""
    content = {
        "format_version": 1,
        "stage": stage,
        "engine": engine,
        "tool": tool.name,
        "title": tool.title,
        "done": False,
        "steps": [{"command": s.command, "produces": s.produces} for s in recipe.steps],
        "produces": recipe.steps[-1].produces,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "verified": tool.verified,
        "remarks": list(recipe.remarks),
        "limits": list(tool.limits),
        "sources": list(tool.sources),
    }
    return f"{json.dumps(content, indent=1)}\n".encode()


def as_text(stage: str, engine: str, tool: Tool, recipe: Recipe) -> bytes:
    """The hand-over as a page to read."""
    return "\n".join([*_lines(stage, engine, tool, recipe), ""]).encode()


def _lines(stage: str, engine: str, tool: Tool, recipe: Recipe) -> Iterator[str]:
    result = recipe.steps[-1].produces
    yield f"# {stage} on {engine}: one step is left"
    yield ""
    yield f"`{result}` does not exist yet. {tool.title} makes it; that is the vendor's own tool and"
    yield "not part of edgeweave. Run in this folder, where the tool is installed:"
    yield ""
    yield "```sh"
    for step in recipe.steps:
        yield f"{step.command}   # writes {step.produces}"
    yield "```"
    yield ""
    yield f"`{QDQ_MODEL}` is what this stage means. `edgeweave run` computes it with ONNX Runtime"
    yield "on the CPU in place of the NPU and calls that `reference`: it says nothing of the NPU's"
    yield "speed, nor of its rounding."
    yield ""
    yield f"**What was checked.** {tool.verified}"
    for head, entries in (
        ("Remarks", recipe.remarks),
        ("Limits that only the tool checks", tool.limits),
        ("Sources", tool.sources),
    ):
        if entries:
            yield ""
            yield f"## {head}"
            yield ""
            yield from (f"- {entry}" for entry in entries)
