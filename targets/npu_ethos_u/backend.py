"""Rules and build step of the npu_ethos_u backend: a quantised stage becomes Vela's binary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeweave.targets.backend import (
    Artifact,
    Refusal,
    Rule,
    StageModel,
    VendorEstimate,
    first_refusal,
)
from edgeweave.targets.board import Engine
from edgeweave.targets.errors import BuildError
from edgeweave.targets.npu_ethos_u import installed
from edgeweave.targets.npu_ethos_u.accelerator import read_accelerator
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.errors import VelaMissingError
from edgeweave.targets.npu_ethos_u.memo import Compiled
from edgeweave.targets.npu_ethos_u.rules import RULES
from edgeweave.targets.npu_ethos_u.vela import Vela
from edgeweave.targets.region import Region
from edgeweave.targets.stage_files import write_files

if TYPE_CHECKING:
    from edgeweave.targets.npu_ethos_u.emit.stage import TfliteModel

MODEL_NAME = "stage.tflite"
BINARY_NAME = "stage_vela.tflite"
REPORT_NAME = "vela.json"


@dataclass(frozen=True)
class NpuEthosUBackend:
    """Takes quantised regions on an Ethos-U.

    A stage is written as an int8 TFLite model and compiled by Vela. Vela's binary is for the board;
    here the TFLite model runs in LiteRT's reference kernels, whose results are the NPU's.
    """

    name: str = "npu_ethos_u"
    consumes: Literal["onnx", "tensorir"] = "onnx"
    estimates: bool = True
    vela: Vela = field(default_factory=Vela, repr=False)

    @property
    def rules(self) -> Sequence[Rule]:
        """The static support rules, in the order they are checked, then those of the build."""
        return RULES

    def refusal(self, region: Region, engine: Engine) -> Refusal | None:
        """The first rule that speaks against the region on the engine, or None."""
        return first_refusal(RULES, region, engine)

    def missing(self) -> str:
        """What has to be installed before it can build, as a sentence; "" when nothing is."""
        return installed.missing()

    def target(self, engine: Engine) -> Any:
        """None: the stage stays ONNX."""
        return None

    def build(self, stage: StageModel, lowered: Any, engine: Engine, folder: Path) -> Artifact:
        """Write the stage's TFLite model, Vela's binary and its report into ``folder``.

        Raises TargetError for the engine's settings, BuildError for all else.
        """
        emitted, compiled = self._compile(stage, engine)
        contents = {
            MODEL_NAME: emitted.blob,
            BINARY_NAME: compiled.model,
            REPORT_NAME: json.dumps(compiled.report, indent=2).encode() + b"\n",
        }
        write_files(stage.name, folder, contents)
        return Artifact(
            kind="litert",
            folder=folder,
            files=tuple(contents),
            options={
                "model": MODEL_NAME,
                "inputs": [[border.name, list(border.permutation)] for border in emitted.inputs],
                "outputs": [[border.name, list(border.permutation)] for border in emitted.outputs],
                "vendor": dict(engine.vendor),
            },
            host_run="reference",
            estimate=_estimate(compiled),
        )

    def _compile(self, stage: StageModel, engine: Engine) -> tuple[TfliteModel, Compiled]:
        lacking = self.missing()
        if lacking:
            raise VelaMissingError(stage.name, lacking)
        from edgeweave.targets.npu_ethos_u.emit.stage import emit_stage

        accelerator = read_accelerator(engine)
        try:
            emitted = emit_stage(stage.model, stage.name)
        except Refused as refused:
            raise BuildError(
                stage.name,
                f"{refused.reason} (rule {refused.rule})",
                f"Keep that region off {engine.name} (--avoid)",
            ) from refused
        sram = engine.memory_mib
        sram_bytes = None if sram is None else int(sram.value * 2**20)
        return emitted, self.vela.compile(emitted.blob, accelerator, stage.name, sram_bytes)

    def fingerprint(self) -> str:
        """Versions of all that can change what is built or how it runs."""
        vela, litert = installed.vela_version(), installed.litert_version()
        own = version("edgeweave")
        return f"ethos-u-vela {vela}, ai-edge-litert {litert}, edgeweave {own}"


BACKEND = NpuEthosUBackend()


def _estimate(compiled: Compiled) -> VendorEstimate:
    return VendorEstimate(compiled.report["seconds"], compiled.report)
