from __future__ import annotations

import numpy as np
import pytest

from edgeweave.compiler.sampling import random_inputs
from edgeweave.runtime.spec import ValueSpec

STYLES = ["normal", "unit", "wide", "small-ints"]
NAMES = (
    "float double float16 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz "
    "float8e8m0 float4e2m1 int64 int32 int16 int8 int4 int2 uint64 uint32 uint16 uint8 uint4 "
    "uint2 bool complex64 complex128 string"
)


def sample(kind: str, shape=(50,), style="normal", seed=0):
    return random_inputs([ValueSpec("x", kind, shape)], seed, style)["x"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES.split())
def test_every_element_type_has_random_values_of_its_dtype_and_shape(name, style):
    spec = ValueSpec("x", f"tensor({name})", (3, 5))
    value = random_inputs([spec], 0, style)["x"]
    assert value.shape == (3, 5)
    assert value.dtype.name == spec.dtype
    if "float" in name:
        assert np.isfinite(value.astype(np.float64)).all()
    assert isinstance(sample(spec.type, ()), np.ndarray)


def test_the_same_seed_gives_the_same_values_and_another_seed_others():
    assert np.array_equal(sample("tensor(float)"), sample("tensor(float)"))
    assert not np.array_equal(sample("tensor(float)"), sample("tensor(float)", seed=1))


def test_normal_floats_have_both_signs_and_unit_floats_lie_between_zero_and_one():
    normal, unit = sample("tensor(float)"), sample("tensor(float)", style="unit")
    assert (normal < 0).any()
    assert (normal > 0).any()
    assert unit.min() >= 0
    assert unit.max() <= 1


def test_wide_values_are_large_and_integers_negative_where_they_can_be():
    assert np.abs(sample("tensor(float)", style="wide")).max() > 50
    assert sample("tensor(int64)", style="wide").min() < 0
    assert sample("tensor(uint8)", style="wide").max() > 100


def test_small_ints_are_whole_and_small():
    floats = sample("tensor(float)", style="small-ints")
    assert set(floats.tolist()) <= {0.0, 1.0, 2.0}
    assert set(sample("tensor(int32)", style="small-ints").tolist()) <= {0, 1}


def test_a_sequence_is_a_list_an_optional_its_content_and_a_map_a_dict():
    sequence = sample("seq(tensor(float))", (2,))
    assert isinstance(sequence, list)
    assert [v.shape for v in sequence] == [(2,)] * 3
    assert sample("optional(tensor(int64))", (2,)).dtype == np.int64
    assert isinstance(sample("optional(seq(tensor(float)))", None), list)
    assert sample("map(int64,tensor(float))", None).keys() == {0, 1, 2}
    assert sample("map(string,tensor(float))", None).keys() == {"a", "b", "c"}


def test_open_dimensions_get_a_size():
    assert sample("tensor(float)", (None, 3)).shape == (2, 3)


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="no random values"):
        sample("tensor(quaternion)")
