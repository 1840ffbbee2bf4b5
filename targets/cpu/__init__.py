"""CPU clusters through TVM's LLVM code generator."""

from edgeweave.targets.cpu.backend import BACKEND

__all__ = ["BACKEND"]
