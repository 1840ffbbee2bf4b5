"""The end of an integer kernel: int32 sums become 8-bit results, as QuantizeLinear rounds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as tir

from edgeweave.schedules.int8.emit import many

# Adding it rounds a float32 of less than 2**22 half to even and leaves the integer in its low bits.
MAGIC = 12582912.0
MAGIC_BITS = 0x4B400000

SETTINGS = 5  # numbers in the buffer that ``Rounding.bind`` reads


def settings(pad: int, offset: int, zero: int, low: float, high: float) -> list[int]:
    """What a kernel is told at run time, as int32: floats as their bits.

    ``pad`` and ``offset`` are of its input (``pack``), ``zero`` is the result's zero point, and
    ``low`` and ``high`` bound the scaled sums, zero point not added.
    """
    import numpy as np

    bounds = np.array([low, high], np.float32).view(np.int32)
    return [pad, offset, zero, *(int(bits) for bits in bounds)]


@dataclass(frozen=True)
class Rounding:
    """Bounds of the scaled sums and the zero point, as expressions."""

    low: Any
    high: Any
    zero: Any

    @classmethod
    def bind(cls, numbers: Any) -> Rounding:
        """Read them from the buffer of settings, once."""
        low, high = (tir.bind(tir.reinterpret("float32", numbers[place])) for place in (3, 4))
        return cls(low, high, tir.bind(numbers[2] - tir.int32(MAGIC_BITS)))

    def apply(self, sums: Any, scale: Any, lanes: int, dtype: str) -> Any:
        """A vector of results of type int8 or uint8; ``scale`` is a vector of float32."""
        return self.scale(tir.Cast(f"float32x{lanes}", sums), scale, lanes, dtype)

    def scale(self, values: Any, scale: Any, lanes: int, dtype: str) -> Any:
        """The same of a vector of float32."""
        bounded = tir.max(tir.min(values * scale, many(self.high, lanes)), many(self.low, lanes))
        bits = tir.reinterpret(f"int32x{lanes}", bounded + many(tir.float32(MAGIC), lanes))
        return tir.Cast(f"{dtype}x{lanes}", bits + many(self.zero, lanes))
