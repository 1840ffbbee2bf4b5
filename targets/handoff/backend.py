"""Rules and build step of the hand-over to vendors' tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from edgeweave.targets.backend import Artifact, Refusal, Rule, StageModel, first_refusal
from edgeweave.targets.board import Engine
from edgeweave.targets.errors import BuildError
from edgeweave.targets.handoff.rules import RULES
from edgeweave.targets.handoff.settings import find_tool
from edgeweave.targets.handoff.tools.tool import QDQ_MODEL, Tool
from edgeweave.targets.region import Region
from edgeweave.targets.stage_files import write_files


@dataclass(frozen=True)
class HandoffBackend:
    """For NPUs whose compiler is not open: the stage, the tool's configuration and its command.

    It makes no binary. The artifact is the stage's quantised ONNX model, which runs here on the CPU
    in the NPU's place, with everything that the vendor's tool needs beside it.
    """

    name: str = "handoff"
    consumes: Literal["onnx", "tensorir"] = "onnx"
    estimates: bool = False

    def missing(self) -> str:
        """Nothing: the vendor's tool is run later, by whoever has it."""
        return ""

    @property
    def rules(self) -> Sequence[Rule]:
        """The static support rules, in the order they are checked."""
        return RULES

    def refusal(self, region: Region, engine: Engine) -> Refusal | None:
        """The first rule that speaks against the region on the engine, or None.

        Raises TargetError for a ``vendor`` table that no tool understands.
        """
        return first_refusal(RULES, region, engine)

    def target(self, engine: Engine) -> Any:
        """None: the stage stays ONNX."""
        return None

    def build(self, stage: StageModel, lowered: Any, engine: Engine, folder: Path) -> Artifact:
        """Write the stage, the tool's files and the instructions into ``folder``.

        Raises BuildError for a stage that cannot be handed over, TargetError for an engine whose
        ``vendor`` table no tool understands.
        """
        # onnx is imported here, not with the module: the rules are looked at without it
        from edgeweave.targets.handoff import instructions
        from edgeweave.targets.handoff.checked import checked_model

        tool = _require_tool(stage, engine)
        model = checked_model(stage, tool)
        recipe = tool.recipe(model, engine.vendor)
        files = {QDQ_MODEL: model.SerializeToString(deterministic=True), **recipe.files}
        files |= {
            instructions.JSON_NAME: instructions.as_json(
                stage.name, engine.name, tool, recipe, files
            ),
            instructions.TEXT_NAME: instructions.as_text(stage.name, engine.name, tool, recipe),
        }
        write_files(stage.name, folder, files)
        return Artifact(
            kind="handoff",
            folder=folder,
            files=tuple(files),
            options=instructions.options(tool, recipe),
            host_run="reference",
        )

    def fingerprint(self) -> str:
        """Versions of all that can change what is built or how it runs."""
        return f"onnx {version('onnx')}, onnxruntime {version('onnxruntime')}"


def _require_tool(stage: StageModel, engine: Engine) -> Tool:
    tool = find_tool(engine)
    if tool is None:
        raise BuildError(
            stage.name,
            f"the board file names no vendor's tool for {engine.name}",
            'Add vendor = { tool = "…" } to the engine',
        )
    return tool
