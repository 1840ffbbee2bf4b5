import itertools

import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.layout import (
    channels_last,
    inverse,
    permuted,
    plain,
    reshaped,
    same_order,
)


def test_images_lie_with_their_channels_last():
    assert channels_last(4) == (0, 2, 3, 1)
    assert channels_last(3) == (0, 2, 1)
    assert channels_last(2) == plain(2) == (0, 1)


@pytest.mark.parametrize("layout", list(itertools.permutations(range(3))))
def test_the_inverse_turns_a_tensor_back(layout):
    value = np.arange(24).reshape(2, 3, 4)
    tensor = value.transpose(layout)
    assert tensor.shape == permuted(value.shape, layout)
    assert (tensor.transpose(inverse(layout)) == value).all()


def test_axes_of_size_one_may_lie_anywhere():
    assert same_order((1, 8, 1, 1), (0, 1, 2, 3), (0, 2, 3, 1))
    assert not same_order((1, 8, 1, 2), (0, 1, 2, 3), (0, 2, 3, 1))


SHAPES = [
    ((2, 3, 4), (2, 12)),
    ((2, 3, 4), (6, 4)),
    ((2, 3, 4), (24,)),
    ((1, 8, 2, 3), (1, 8, 6)),
    ((1, 8, 2, 3), (1, 2, 4, 2, 3)),
    ((1, 8, 2, 3), (8, 1, 6, 1)),
    ((1, 8, 2, 3), (1, 2, 8, 3)),
    ((4, 1, 6), (2, 2, 3, 2)),
    ((1, 1), (1,)),
    ((5,), (1, 5, 1)),
]


@pytest.mark.parametrize(("before", "after"), SHAPES)
def test_a_reshaped_tensor_is_never_wrong_and_is_found_where_there_is_one(before, after):
    value = np.arange(int(np.prod(before))).reshape(before)
    wanted = value.reshape(after)
    for layout in itertools.permutations(range(len(before))):
        memory = value.transpose(layout).reshape(-1)
        found = reshaped(before, layout, after)
        if found is not None:
            assert sorted(found) == list(range(len(after)))
            assert (wanted.transpose(found).reshape(-1) == memory).all()
        else:
            for other in itertools.permutations(range(len(after))):
                assert (wanted.transpose(other).reshape(-1) != memory).any()


def test_the_layout_of_a_merged_image():
    assert reshaped((1, 8, 2, 3), (0, 2, 3, 1), (1, 8, 6)) == (0, 2, 1)
    assert reshaped((1, 8, 2, 3), (0, 2, 3, 1), (1, 48)) is None
