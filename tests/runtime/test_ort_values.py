import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.runtime.ort_values import _pack, _unpack, needs_ort_value


@given(bits=st.sampled_from([2, 4]), values=st.lists(st.integers(0, 255), max_size=40))
def test_unpacking_undoes_packing_for_any_count(bits, values):
    kept = np.array(values, np.uint8) & ((1 << bits) - 1)
    packed = _pack(kept, bits)
    assert packed.nbytes == -(-len(values) * bits // 8)
    np.testing.assert_array_equal(_unpack(packed, bits, len(values)), kept)


def test_the_first_element_is_in_the_low_bits():
    assert _pack(np.array([1, 14, 3], np.uint8), 4).tolist() == [0xE1, 0x03]


@pytest.mark.parametrize(
    ("kind", "foreign"),
    [("tensor(float)", False), ("tensor(bfloat16)", True), ("seq(tensor(int4))", False)],
)
def test_only_tensors_that_numpy_does_not_have_need_a_value_of_onnx_runtime(kind, foreign):
    assert needs_ort_value(kind) is foreign
