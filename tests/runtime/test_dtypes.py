import ml_dtypes
import numpy as np
import pytest

from edgeweave.runtime.dtypes import named_dtype, numpy_dtype
from edgeweave.runtime.spec import ValueSpec


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("tensor(float)", np.dtype("float32")),
        ("tensor(bfloat16)", np.dtype(ml_dtypes.bfloat16)),
        ("tensor(int4)", np.dtype(ml_dtypes.int4)),
        ("tensor(string)", np.dtype(object)),
        ("seq(tensor(float))", None),
    ],
)
def test_a_tensor_type_has_its_dtype_and_other_types_have_none(kind, dtype):
    assert numpy_dtype(ValueSpec("x", kind, None)) == dtype


def test_a_name_that_neither_numpy_nor_ml_dtypes_knows_is_an_error():
    with pytest.raises(TypeError):
        named_dtype("float3")
