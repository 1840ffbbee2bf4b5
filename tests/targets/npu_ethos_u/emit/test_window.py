import pytest

from edgeweave.targets.npu_ethos_u.emit.quantized import Operator, Quantisation, Value
from edgeweave.targets.npu_ethos_u.emit.refusals import Refused
from edgeweave.targets.npu_ethos_u.emit.window import POINT, Window, read_window


def window(size=(9, 10), kernel=(3, 3), **attributes):
    value = Value("y", (1, 1, 1, 1), Quantisation(1.0, 0))
    return read_window(Operator("Conv", "c", (), value, attributes), size, kernel)


def test_what_is_not_said_is_one_and_no_pads():
    assert window() == Window((3, 3), (1, 1), (1, 1), (0, 0, 0, 0))
    assert window(kernel=(1, 1)) == POINT


def test_one_dimension_is_the_width():
    found = window((1, 10), (1, 3), strides=[2], dilations=[3], pads=[4, 5])
    assert found == Window((1, 3), (1, 2), (1, 3), (0, 4, 0, 5))


def test_how_many_windows_fit():
    found = window(strides=[2, 3], dilations=[2, 1], pads=[1, 0, 2, 0])
    assert found.reach == (5, 3)
    assert found.output((9, 10)) == (4, 3)


@pytest.mark.parametrize(
    ("automatic", "pads"),
    [("SAME_UPPER", (1, 0, 1, 1)), ("SAME_LOWER", (1, 1, 1, 0)), ("VALID", (0, 0, 0, 0))],
)
def test_automatic_padding(automatic, pads):
    assert window(strides=[2, 2], auto_pad=automatic).pads == pads


def test_same_is_tflite_s_only_where_every_pad_is():
    assert window(pads=[1, 1, 1, 1]).is_same((9, 10))
    assert window(strides=[2, 2], pads=[1, 0, 1, 1]).is_same((9, 10))
    assert not window(strides=[2, 2], pads=[1, 1, 1, 0]).is_same((9, 10))
    assert not window(kernel=(9, 9), strides=[4, 4], auto_pad="SAME_UPPER").is_same((9, 10))


def test_a_window_is_widened_at_the_end_only():
    found = window(strides=[2, 2]).widened((10, 10), (5, 5))
    assert found.pads == (0, 0, 1, 1)
    assert found.output((10, 10)) == (5, 5)


def test_negative_pads_are_refused():
    with pytest.raises(Refused, match="negative pads") as caught:
        window(pads=[-1, 0, 0, 0])
    assert caught.value.rule == "ethos-u.pad"
