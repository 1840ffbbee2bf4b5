"""Resized maps equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

from typing import Any

import pytest

from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate

_OPTIONS = {
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
}


@pytest.mark.parametrize("code", _OPTIONS)
def test_resize(compare: Any, code: str) -> None:
    def build(draft: Any) -> None:
        quantisation = draft.quantisation()
        shape = (
            draft.integer(1, 2),
            draft.integer(1, 12),
            draft.integer(1, 12),
            draft.integer(1, 5),
        )
        size = (draft.integer(1, 40), draft.integer(1, 40))
        aligned, half = ((False, False), (True, False), (False, True))[draft.integer(0, 2)]
        inputs = [draft.input(shape, quantisation), draft.integers(size)]
        y = draft.output((shape[0], *size, shape[3]), quantisation)
        fields = {"alignCorners": aligned, "halfPixelCenters": half}
        draft.add(code, inputs, [y], _OPTIONS[code], 3, **fields)

    compare(build, 40)


def test_bilinear_uint8_is_refused(draft: Any) -> None:
    inputs = [draft.input((1, 2, 2, 1), dtype="uint8"), draft.integers((4, 4))]
    y = draft.output((1, 4, 4, 1), dtype="uint8")
    draft.add("RESIZE_BILINEAR", inputs, [y], "ResizeBilinearOptions", 3)
    with pytest.raises(TargetError, match="for int8 alone"):
        evaluate(draft.finish(), draft.values)
