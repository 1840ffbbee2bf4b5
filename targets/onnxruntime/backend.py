"""Rules and build step of the ONNX Runtime backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from edgeweave.runtime.machine import machine_architecture, triple_architecture
from edgeweave.targets.backend import Artifact, Refusal, Rule, StageModel, first_refusal
from edgeweave.targets.board import Engine
from edgeweave.targets.errors import BuildError
from edgeweave.targets.region import Region
from edgeweave.targets.stage_files import write_files

MODEL_NAME = "stage.onnx"
PROTOBUF_LIMIT = 2**31 - 1  # bytes; protobuf can neither write nor read a larger message


def _refuse_other_engines(_region: Region, engine: Engine) -> str | None:
    if engine.kind == "cpu":
        return None
    return f"{engine.name} is a {engine.kind}, and ONNX Runtime's CPU provider runs on CPUs only"


RULES = (
    Rule(
        "onnxruntime.cpu-engine",
        "The engine must be a CPU cluster; any operator that passed the front end is taken.",
        _refuse_other_engines,
    ),
)


@dataclass(frozen=True)
class OnnxRuntimeBackend:
    """Takes every region on a CPU engine; its artifact is the stage's ONNX model itself."""

    name: str = "onnxruntime"
    consumes: Literal["onnx", "tensorir"] = "onnx"
    estimates: bool = False

    def missing(self) -> str:
        """Nothing: all that it needs is installed with edgeweave."""
        return ""

    @property
    def rules(self) -> Sequence[Rule]:
        """The static support rules, in the order they are checked."""
        return RULES

    def refusal(self, region: Region, engine: Engine) -> Refusal | None:
        """The first rule that speaks against the region on the engine, or None."""
        return first_refusal(RULES, region, engine)

    def target(self, engine: Engine) -> Any:
        """None: the stage stays ONNX."""
        return None

    def build(self, stage: StageModel, lowered: Any, engine: Engine, folder: Path) -> Artifact:
        """Write the stage's model, weights inline, into ``folder``; raises BuildError."""
        if stage.model.ByteSize() > PROTOBUF_LIMIT:
            raise BuildError(
                stage.name,
                f"its model has {stage.model.ByteSize() / 1e9:.1f} GB, and ONNX files end at 2 GB",
                "Allow more stages, so that each holds fewer weights",
            )
        content = stage.model.SerializeToString(deterministic=True)
        write_files(stage.name, folder, {MODEL_NAME: content})
        triple = engine.llvm_target.get("mtriple")
        native = isinstance(triple, str) and triple_architecture(triple) == machine_architecture()
        return Artifact(
            kind="onnxruntime",
            folder=folder,
            files=(MODEL_NAME,),
            options={"triple": triple} if isinstance(triple, str) else {},
            host_run="measured" if native else None,
        )

    def fingerprint(self) -> str:
        """Versions of all that can change what is built or how it runs."""
        return f"onnxruntime {version('onnxruntime')}, onnx {version('onnx')}"
