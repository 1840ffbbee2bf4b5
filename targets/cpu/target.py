"""TVM's target of a CPU engine."""

from __future__ import annotations

from tvm.target import Target

from edgeweave.runtime.machine import triple_architecture
from edgeweave.targets.board import Engine
from edgeweave.targets.cpu.features import check_cpu, needed_features


def find_target(engine: Engine) -> Target:
    """The LLVM target of an engine: its triple, CPU and features, with its number of cores.

    Raises TargetError if LLVM does not know them.
    """
    triple, cpu, attributes = _described(engine)
    check_cpu(f"llvm_target of engine {engine.name}", triple, cpu, attributes)
    keys: dict[str, object] = {"mtriple": full_triple(triple)}
    if cpu:
        keys["mcpu"] = cpu
    if attributes:
        keys["mattr"] = list(attributes)
    if triple_architecture(triple) == "riscv64":
        # LLVM passes floats in integer registers unless told; Linux does not
        keys["mabi"] = "lp64d"
    return Target({"kind": "llvm", "num-cores": max(1, len(engine.cores)), **keys})


def find_features(engine: Engine) -> tuple[str, ...]:
    """The features that the engine's code may use, of those a machine can be asked for; sorted."""
    return needed_features(*_described(engine))


def full_triple(triple: str) -> str:
    """The triple with a vendor: ``arm-unknown-linux-gnueabihf`` of ``arm-linux-gnueabihf``.

    LLVM takes ``linux`` for the vendor otherwise, and makes code for no system: of the wrong
    floating-point ABI on 32-bit ARM, where systems then refuse to load it.
    """
    parts = triple.split("-")
    if len(parts) == 3 and parts[1] == "linux":
        parts.insert(1, "unknown")
    return "-".join(parts)


def _described(engine: Engine) -> tuple[str, str, tuple[str, ...]]:
    """Triple, CPU and features; "" and () where the board names none."""
    target = engine.llvm_target
    return str(target["mtriple"]), str(target.get("mcpu", "")), tuple(target.get("mattr", ()))
