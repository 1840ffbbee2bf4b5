"""Functions of one 8-bit integer, as a table of all the integers there are."""

from __future__ import annotations

import numpy as np

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.fixed_point import Integers
from edgeweave.targets.npu_ethos_u.integer.model import Array, Tensor


def every_integer(tensor: Tensor) -> Integers:
    """All integers that an 8-bit tensor can hold, ascending."""
    if tensor.dtype.itemsize != 1:
        raise TargetError(f"tensor {tensor.name}", f"it is {tensor.dtype}, not of 8 bits")
    low, high = tensor.limits
    return np.arange(low, high + 1, dtype=np.int64)


def look_up(tensor: Tensor, value: Array, table: Array) -> Array:
    """The table's entry for every element; the table begins at the tensor's lowest integer."""
    low, _ = tensor.limits
    # an int8 index counts from the end where it is negative, as a rolled table wants it
    return np.roll(table, low)[value]
