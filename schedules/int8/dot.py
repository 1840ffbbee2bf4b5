"""Dot products of 8-bit integers: what a CPU's vectors offer, and how values are stored for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.target import Target, codegen
from tvm.tirx.script import builder as tir

SIGN = 0x80  # flips int8 to uint8 with 128 added, and back


@dataclass(frozen=True)
class DotUnit:
    """A vector operation that adds ``depth`` products to each of ``lanes`` int32 sums.

    Its operands are vectors of words, each of ``depth`` values: 8 bits wide at a depth of 4, else
    16. With ``unsigned`` the activations are stored as uint8 and the weights as int8, else both are
    signed. ``registers`` and ``rate``, operations per cycle, only guide the choice of tiles.
    """

    name: str
    intrinsic: str
    lanes: int
    depth: int
    unsigned: bool = False
    registers: int = 32
    rate: float = 2.0

    @property
    def word(self) -> str:
        """The integer type that holds one word."""
        return "int32" if self.depth > 1 else "int16"

    @property
    def word_bytes(self) -> int:
        """Bytes of a word."""
        return 4 if self.depth > 1 else 2

    def flip(self, dtype: str) -> int:
        """What a byte of an activation of type int8 or uint8 is combined with by exclusive or."""
        if self.depth == 4:
            return SIGN if self.unsigned == (dtype == "int8") else 0
        return SIGN if dtype == "int8" else 0

    def stored_zero(self, zero: int, dtype: str) -> int:
        """The zero point of activations as they are stored; 0 where storing subtracts it."""
        if self.depth < 4:
            return 0
        return zero + (128 if self.unsigned else 0) - (128 if dtype == "uint8" else 0)

    def pad_word(self, zero: int, dtype: str) -> int:
        """The word of activations that are all zero, as a signed integer."""
        if self.depth < 4:
            return 0
        return int(np.array([self.stored_zero(zero, dtype) & 0xFF] * 4, np.uint8).view(np.int32)[0])

    def offset(self, zero: int, dtype: str) -> int:
        """What is subtracted from a flipped byte to store it in 16 bits; unused at a depth of 4."""
        return zero + (128 if dtype == "int8" else 0)

    def weight_words(self, weights: np.ndarray) -> np.ndarray:
        """Words of int8 weights of shape [..., depth]: an array of shape [...]."""
        values = weights.astype(np.int8 if self.depth == 4 else np.int16)
        return np.ascontiguousarray(values).view(np.dtype(self.word)).reshape(weights.shape[:-1])

    def dot(self, sums: Any, activations: Any, weights: Any) -> Any:
        """The sums with the products of two vectors of words added."""
        kind = f"int32x{self.lanes}"
        if self.depth == 1:
            return sums + tir.Cast(kind, activations) * tir.Cast(kind, weights)
        call = tir.call_llvm_pure_intrin
        number = tir.llvm_lookup_intrinsic_id(self.intrinsic)
        if self.depth == 2:
            halves = f"int16x{2 * self.lanes}"
            pair = (tir.reinterpret(halves, activations), tir.reinterpret(halves, weights))
            return sums + call(kind, number, *pair)
        bytes_ = f"int8x{4 * self.lanes}"
        left = f"u{bytes_}" if self.unsigned else bytes_
        return call(
            kind, number, sums, tir.reinterpret(left, activations), tir.reinterpret(bytes_, weights)
        )


_VNNI = "llvm.x86.avx512.vpdpbusd"  # AVX-VNNI's instructions have the same name
# The first whose features the target has.
UNITS = (
    (("avx512vnni", "avx512bw"), DotUnit("vpdpbusd.512", f"{_VNNI}.512", 16, 4, True)),
    (("avx512vnni", "avx512vl"), DotUnit("vpdpbusd.256", f"{_VNNI}.256", 8, 4, True)),
    (("avxvnni",), DotUnit("vpdpbusd.256", f"{_VNNI}.256", 8, 4, True, 16)),
    (("avx512bw",), DotUnit("vpmaddwd.512", "llvm.x86.avx512.pmaddw.d.512", 16, 2, rate=1)),
    (("avx2",), DotUnit("vpmaddwd.256", "llvm.x86.avx2.pmadd.wd", 8, 2, registers=16, rate=1)),
    (("sse2",), DotUnit("pmaddwd.128", "llvm.x86.sse2.pmadd.wd", 4, 2, registers=16, rate=1)),
    (("dotprod", "neon"), DotUnit("sdot", "llvm.aarch64.neon.sdot.v4i32.v16i8", 4, 4)),
)
PLAIN = DotUnit("multiply-add", "", 4, 1, registers=32, rate=1)


def find_dot(target: Target) -> DotUnit:
    """The best dot product of the target's CPU; plain multiply-adds where it has none."""
    architecture = str(target.attrs.get("mtriple", "")).partition("-")[0]
    for features, unit in UNITS:
        if unit.name == "sdot" and architecture not in ("aarch64", "arm64"):
            continue
        if all(codegen.llvm_cpu_has_features(feature, target) for feature in features):
            return unit
    return PLAIN
