"""Small models, built by hand, that LiteRT's reference kernels and our integers both run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.flatbuffer import FlatbufferWriter
from edgeweave.targets.npu_ethos_u.integer.evaluate import evaluate


def run_reference(blob: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The model's outputs by LiteRT's reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=blob, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


class Draft:
    """A model in the making, with random scales, zero points and inputs."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.writer = FlatbufferWriter()
        self.given: list[int] = []
        self.values: list[np.ndarray] = []
        self.outputs: list[int] = []

    def integer(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def scale(self, around: float = 0.05) -> float:
        """Within a factor of 4 of a plausible scale."""
        return float(around * 4 ** self.random.uniform(-1, 1))

    def zero_point(self, dtype: str = "int8") -> int:
        info = np.iinfo(dtype)
        edge = self.random.random() < 0.2
        return int(info.min if edge else self.random.integers(info.min, info.max + 1))

    def quantisation(self, dtype: str = "int8", around: float = 0.05) -> tuple[float, int]:
        return self.scale(around), self.zero_point(dtype)

    def input(
        self,
        shape: Sequence[int],
        quantisation: tuple[float, int] | None = None,
        dtype: str = "int8",
    ) -> int:
        """A graph input with random integers; its number."""
        scale, zero_point = quantisation or self.quantisation(dtype)
        index = self.writer.tensor(f"x{len(self.given)}", shape, dtype, [scale], zero_point)
        info = np.iinfo(dtype)
        self.given.append(index)
        self.values.append(self.random.integers(info.min, info.max + 1, shape).astype(dtype))
        return index

    def weights(self, shape: Sequence[int], axis: int, per_channel: bool = True) -> int:
        """Constant symmetric weights; a scale per index of the axis, or one."""
        data = self.random.integers(-127, 128, shape).astype(np.int8)
        count = shape[axis] if per_channel else 1
        scales = [self.scale(0.002) for _ in range(count)]
        return self.writer.constant("w", data, scales, 0, axis)

    def bias(self, channels: int) -> int:
        data = self.random.integers(-30000, 30000, channels).astype(np.int32)
        return self.writer.constant("b", data, [1e-4] * channels)

    def integers(self, values: Any) -> int:
        return self.writer.constant("integers", np.array(values, np.int32))

    def output(
        self,
        shape: Sequence[int],
        quantisation: tuple[float, int] | None = None,
        dtype: str = "int8",
    ) -> int:
        scale, zero_point = quantisation or self.quantisation(dtype)
        index = self.writer.tensor(f"y{len(self.outputs)}", shape, dtype, [scale], zero_point)
        self.outputs.append(index)
        return index

    def add(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        version: int = 2,
        **fields: Any,
    ) -> None:
        self.writer.operator(code, inputs, outputs, version, options, fields)

    def finish(self) -> bytes:
        return self.writer.finish(self.given, self.outputs)


Builder = Callable[[Draft], None]


@pytest.fixture
def compare() -> Callable[..., None]:
    """Compares both on as many random models as a builder is asked for, and asks for equality.

    A test that compares nothing but saturated outputs would show little: at least a tenth of the
    outputs altogether lies between the bounds.
    """

    def check(build: Builder, count: int = 20, inside: float = 0.1) -> None:
        free = total = 0
        for seed in range(count):
            draft = Draft(seed)
            build(draft)
            blob = draft.finish()
            wanted = run_reference(blob, draft.values)
            found = evaluate(blob, draft.values)
            for ours, theirs in zip(found, wanted, strict=True):
                assert ours.dtype == theirs.dtype
                assert ours.shape == theirs.shape
                wrong = np.flatnonzero(ours.reshape(-1) != theirs.reshape(-1))
                assert not len(wrong), (
                    f"seed {seed}: {len(wrong)} of {ours.size} differ, the first: "
                    f"{ours.reshape(-1)[wrong[0]]} where LiteRT has {theirs.reshape(-1)[wrong[0]]}"
                )
                info = np.iinfo(ours.dtype)
                free += int(((ours > info.min) & (ours < info.max)).sum())
                total += ours.size
        assert free >= inside * total

    return check


@pytest.fixture
def draft() -> Draft:
    return Draft(0)


@pytest.fixture
def reference() -> Callable[[bytes, Sequence[np.ndarray]], list[np.ndarray]]:
    return run_reference
