"""TVM's target of a CPU engine."""

from __future__ import annotations

from tvm.target import Target

from edgeweave.targets.board import Engine


def find_target(engine: Engine) -> Target:
    """The LLVM target of an engine: its triple, CPU and features, with its number of cores."""
    keys = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in engine.llvm_target.items()
    }
    return Target({"kind": "llvm", "num-cores": max(1, len(engine.cores)), **keys})
