from collections.abc import Callable

import pytest

from edgeweave.targets.backend import Backend, Refusal
from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.region import Region
from edgeweave.targets.rules import find_peak, find_refusal, installed_backend


def engine(kind: str, **peaks: float) -> Engine:
    one = Quantity(1.0, "test")
    return Engine(
        "unit", kind, "", ("b",), {p: Quantity(v, "test") for p, v in peaks.items()}, one, one, one
    )


def region(precision: str) -> Region:
    return Region(0, (), (), (), 1, 1, 0, precision, "d")


class Picky:
    """A backend that refuses every region, to see whether it was asked."""

    def refusal(self, region: Region, engine: Engine) -> Refusal | None:
        return Refusal("picky.always", "it is picky")


class Easy(Picky):
    def refusal(self, region: Region, engine: Engine) -> Refusal | None:
        return None


def having(backend: object | None) -> Callable[[str], Backend | None]:
    return lambda name: backend  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "precision", "peak"),
    [
        ("cpu", "float32", 8.0),
        ("cpu", "float64", 8.0),
        ("cpu", "string", 8.0),
        ("cpu", "int8", 32.0),
        ("cpu", "uint8", 32.0),
        ("gpu", "int64", 8.0),
        ("gpu", "bool", 8.0),
        ("gpu", "uint8", 32.0),
        ("gpu", "float64", None),
        ("gpu", "float16", None),
        ("dsp", "int32", 8.0),
        ("npu", "int64", None),
        ("npu", "uint8", 32.0),
    ],
)
def test_the_peak_of_a_precision_depends_on_the_kind_of_engine(
    kind: str, precision: str, peak: float | None
) -> None:
    found = find_peak(engine(kind, float32=8.0, int8=32.0), precision)
    assert (found.value if found else None) == peak


def test_a_backend_that_is_not_installed_refuses_every_region() -> None:
    refusal = find_refusal(region("int8"), engine("npu", int8=1.0), "gpu_opencl", having(None))
    assert refusal == Refusal(
        "backend.missing", "backend gpu_opencl is not part of this installation"
    )


def test_a_precision_without_a_peak_is_refused_before_the_backend_is_asked() -> None:
    refusal = find_refusal(region("float32"), engine("npu", int8=1.0), "b", having(Picky()))
    assert refusal == Refusal(
        "engine.precision", "engine unit computes int8; the region is float32"
    )


def test_the_rules_of_the_backend_come_last() -> None:
    refusal = find_refusal(region("int8"), engine("npu", int8=1.0), "b", having(Picky()))
    assert refusal == Refusal("picky.always", "it is picky")


def test_what_nobody_refuses_is_taken() -> None:
    assert find_refusal(region("int8"), engine("npu", int8=1.0), "b", having(Easy())) is None


def test_a_word_that_no_backend_has_is_not_installed() -> None:
    assert installed_backend("no such backend") is None
