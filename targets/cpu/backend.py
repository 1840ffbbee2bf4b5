"""Build step of the cpu backend: a scheduled module becomes a shared library and its weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import numpy_helper

from edgeweave.runtime.cpu_features import lacking_features
from edgeweave.runtime.machine import machine_architecture, triple_architecture
from edgeweave.targets.backend import Artifact, Refusal, Rule, StageModel, first_refusal
from edgeweave.targets.board import Engine
from edgeweave.targets.cpu.rules import RULES
from edgeweave.targets.errors import BuildError
from edgeweave.targets.region import Region

LIBRARY_NAME = "stage.so"
WEIGHTS_NAME = "weights.bin"
ALIGNMENT = 64  # bytes; generated code loads weights with aligned vector instructions
_LINK_TIMEOUT_S = 120


@dataclass(frozen=True)
class CpuBackend:
    """TVM's LLVM code for a CPU cluster, linked by the linker that ziglang brings."""

    name: str = "cpu"
    consumes: Literal["onnx", "tensorir"] = "tensorir"
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
        """The engine's LLVM target."""
        from edgeweave.targets.cpu.target import find_target

        return find_target(engine)

    def build(self, stage: StageModel, lowered: Any, engine: Engine, folder: Path) -> Artifact:
        """Compile the scheduled ``IRModule`` for the engine's LLVM target; raises BuildError."""
        folder.mkdir(parents=True, exist_ok=True)
        machine = _machine(engine)
        _check_halves(stage.name, lowered, machine)
        _compile(stage.name, lowered, self.target(engine), folder / LIBRARY_NAME)
        weights = _write_weights(stage, folder / WEIGHTS_NAME)
        options: dict[str, Any] = {"function": "main", "weights": weights}
        files = [LIBRARY_NAME]
        if weights:
            options["weights_file"] = WEIGHTS_NAME
            files.append(WEIGHTS_NAME)
        native = triple_architecture(machine["triple"]) == machine_architecture()
        return Artifact(
            kind="tvm",
            folder=folder,
            files=tuple(files),
            options=options | machine,
            host_run="measured" if native and not lacking_features(machine["features"]) else None,
        )

    def fingerprint(self) -> str:
        """Versions of all that can change what is built or how it runs."""
        return (
            f"apache-tvm {version('apache-tvm')}, apache-tvm-ffi {version('apache-tvm-ffi')}, "
            f"edgeweave {version('edgeweave')}"
        )


BACKEND = CpuBackend()


def _machine(engine: Engine) -> dict[str, Any]:
    """What the code was compiled for, as the runtime compares it with a machine."""
    from edgeweave.targets.cpu.target import find_features

    target = engine.llvm_target
    return {
        "triple": str(target["mtriple"]),
        "mcpu": str(target.get("mcpu", "")),
        "features": list(find_features(engine)),
    }


def _check_halves(stage: str, lowered: Any, machine: Mapping[str, Any]) -> None:
    """Refuse float16 inside a stage where the rule ``cpu.halves`` cannot see it.

    LLVM ends this process when it makes vector code for it without the features.
    """
    if triple_architecture(machine["triple"]) != "riscv64" or "float16" not in lowered.script():
        return
    wanted = {"zfh", "zvfh"} if "v" in machine["features"] else {"zfh"}
    lacking = sorted(wanted - set(machine["features"]))
    if lacking:
        raise BuildError(
            stage,
            f"it computes in float16, and {machine['mcpu']} lacks {' and '.join(lacking)}",
            "Keep its regions off this engine, or name the features in the engine's mattr",
        )


def _compile(stage: str, lowered: Any, target: Any, library: Path) -> None:
    import tvm
    from tvm import relax
    from tvm.tirx import PrimFunc

    def link(output: str, objects: Sequence[str], **_options: Any) -> None:
        _link(stage, output, objects)

    if not any(isinstance(function, PrimFunc) for function in lowered.functions.values()):
        # without any machine code TVM hands C source to the linker; one empty kernel prevents it
        lowered = tvm.IRModule({**lowered.functions, "nothing": _empty_kernel()})
    try:
        # "default" lowers what is there, plans memory and makes calls; fusion is done by now
        built = relax.build(lowered, target, relax_pipeline=relax.get_pipeline("default"))
        built.export_library(str(library), fcompile=link)
    except BuildError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1][:240] if lines else type(error).__name__
        raise BuildError(stage, f"TVM cannot build it ({reason})") from error


def _empty_kernel() -> Any:
    from tvm import tirx

    kernel = tirx.PrimFunc([], tirx.Evaluate(0))
    return kernel.with_attr("global_symbol", "nothing")


def _link(stage: str, output: str, objects: Sequence[str]) -> None:
    """Link for any architecture with lld: no compiler has to be installed."""
    command = [sys.executable, "-m", "ziglang", "ld.lld", "-shared", "-o", output, *objects]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_LINK_TIMEOUT_S, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BuildError(
            stage, f"the linker failed ({lines[0]})", "Check that ziglang is installed"
        )


def _write_weights(stage: StageModel, path: Path) -> list[dict[str, Any]]:
    """Write the weights one after another, each aligned; the index goes into the manifest."""
    tensors: dict[str, onnx.TensorProto] = {t.name: t for t in stage.model.graph.initializer}
    index: list[dict[str, Any]] = []
    if not stage.weights:
        return index
    with path.open("wb") as file:
        for name in stage.weights:
            array = numpy_helper.to_array(tensors[name])
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            index.append(
                {
                    "name": name,
                    "dtype": array.dtype.name,
                    "shape": list(array.shape),
                    "offset": file.tell(),
                    "nbytes": array.nbytes,
                }
            )
            file.write(array.tobytes())
    return index
