"""A model, a board and a device program on this machine, for profiles of a device."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgeweave.compiler.devices.bench import Effort
from edgeweave.partition.prediction.soundness import Limits
from edgeweave.targets.board import Board
from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.pool import Place
from edgeweave.targets.kit.launch import RunningDevice


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    """Four kinds of regions, the first of which it has twice."""
    return onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        g (float[1,4,16,16] x) => (float[1,4] y)
        <float[4,4,1,1] w = {1,2,3,4, 5,6,7,8, 1,2,3,4, 5,6,7,8}> {
            a = Conv(x, w)
            b = Relu(a)
            c = Conv(b, w)
            d = Relu(c)
            e = MaxPool<kernel_shape = [2,2]>(d)
            f = Softmax(e)
            m = GlobalAveragePool(f)
            y = Flatten(m)
        }"""
    )


@pytest.fixture(scope="session")
def quick() -> Effort:
    """Few repeats, and limits that rule out nothing.

    This machine is busy with other things: nothing it does while it is timed is a fault here.
    """
    limits = Limits(math.inf, math.inf, math.inf, math.inf, math.inf)
    return Effort(repeats=5, pause_s=0.0, limits=limits)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, which the test uses."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEWEAVE_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def board(own_board: Callable[..., str]) -> Board:
    """A board of two CPU engines named rack."""
    return parse_board(own_board("rack"), "rack")


@pytest.fixture
def place(start_device: Callable[..., RunningDevice]) -> Place:
    """Where a device program named rack-01 can be reached."""
    device = start_device("--name", "rack-01")
    return Place(Address(device.host, device.port))
