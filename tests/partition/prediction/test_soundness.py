from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.partition.prediction.soundness import (
    LIMITS,
    Conduct,
    Core,
    Limits,
    Reading,
    control_level,
    find_faults,
    impossible,
)
from edgeweave.targets.board import Board, Engine, Quantity
from edgeweave.targets.region import Region

STAMP = DeviceStamp("rack-07", "10af", "aarch64", ("cortex-a55", "cortex-a76"), "measured")


def q(value: float) -> Quantity:
    return Quantity(value, "test")


def reading(
    celsius: float | None = 45.0, mhz: float | None = 1800.0, governor: str | None = "performance"
) -> Reading:
    return Reading(celsius, (Core(0, mhz, governor), Core(1, 2400.0, "performance")))


FINE = Conduct((STAMP, STAMP), (reading(), reading(), reading()), (1e-3,) * 30, 1e-3)


def kinds(conduct: Conduct, limits: Limits = LIMITS) -> list[str]:
    return [fault.kind for fault in find_faults(conduct, limits)]


def test_a_device_that_keeps_still_has_no_fault() -> None:
    assert find_faults(FINE) == []


def test_a_device_that_tells_nothing_has_no_fault() -> None:
    silent = Reading(None, (Core(0, None, None),))
    assert find_faults(Conduct((STAMP,), (silent, silent), ())) == []
    assert find_faults(Conduct((STAMP,), (), (1e-3,))) == []


@pytest.mark.parametrize(
    ("celsius", "reason"),
    [
        ((40.0, 61.0), "it warmed up by 21 C, from 40 to 61"),
        ((40.0, 61.0, 45.0), "it warmed up by 21 C, from 40 to 61"),
        ((84.0, 85.5), "it reached 86 C, where devices slow down (85 C)"),
    ],
)
def test_heat_is_a_fault(celsius: tuple[float, ...], reason: str) -> None:
    (fault,) = find_faults(replace(FINE, readings=tuple(map(reading, celsius))))
    assert (fault.kind, fault.reason) == ("temperature", reason)


def test_a_temperature_that_falls_is_none() -> None:
    assert find_faults(replace(FINE, readings=(reading(70.0), reading(45.0)))) == []


@pytest.mark.parametrize("mhz", [1600.0, 2000.0])
def test_a_clock_that_changes_is_a_fault_named_once(mhz: float) -> None:
    changed = (reading(), reading(mhz=mhz), reading(mhz=mhz))
    (fault,) = find_faults(replace(FINE, readings=changed))
    assert fault.kind == "clock"
    assert (
        fault.reason
        == f"the clock of core 0 changed from 1800 to {mhz:.0f} MHz (governor performance)"
    )


def test_a_clock_may_waver() -> None:
    assert find_faults(replace(FINE, readings=(reading(), reading(mhz=1790.0)))) == []


def test_a_governor_that_changes_is_a_fault() -> None:
    (fault,) = find_faults(replace(FINE, readings=(reading(), reading(governor="ondemand"))))
    assert fault.kind == "governor"
    assert fault.reason == "the governor of core 0 changed from performance to ondemand"


def test_another_device_in_the_middle_is_a_fault() -> None:
    other = replace(STAMP, serial="2222")
    (fault,) = find_faults(replace(FINE, devices=(STAMP, other)))
    assert fault.kind == "device"
    assert "with serial '10af' to rack-07" in fault.reason


def test_devices_without_a_serial_are_told_apart_by_their_names() -> None:
    nameless = replace(STAMP, serial="")
    assert find_faults(replace(FINE, devices=(nameless, STAMP))) == []
    assert kinds(replace(FINE, devices=(nameless, replace(nameless, name="b")))) == ["device"]


def test_cores_that_the_device_does_not_have_are_a_fault() -> None:
    (fault,) = find_faults(replace(FINE, notes=("cores 4-7 do not exist here; not pinned",)))
    assert fault.kind == "cores"
    assert "cores 4-7 do not exist here" in fault.reason


level = st.floats(1e-5, 1.0)
noise = st.lists(st.floats(0.98, 1.02), min_size=1, max_size=60)


@given(level, noise)
def test_a_control_kernel_with_some_noise_is_no_fault(seconds: float, shares: list[float]) -> None:
    control = tuple(seconds * share for share in shares)
    assert find_faults(Conduct((STAMP,), (), control, seconds)) == []


@given(level, noise, st.integers(0, 10**6))
def test_single_slow_calls_of_the_control_kernel_are_no_fault(
    seconds: float, shares: list[float], where: int
) -> None:
    control = [seconds * share for share in shares]
    control[where % len(control)] *= 3 if len(control) >= 16 else 1
    assert find_faults(Conduct((STAMP,), (), tuple(control))) == []


@given(
    level,
    st.lists(st.floats(0.98, 1.02), min_size=12, max_size=60),
    st.floats(1.2, 4.0),
    st.booleans(),
)
def test_a_control_kernel_that_drifts_is_a_fault(
    seconds: float, shares: list[float], factor: float, faster: bool
) -> None:
    control = [seconds * share for share in shares]
    half = len(control) // 2
    slowed = [*control[:half], *(value * factor for value in control[half:])]
    conduct = Conduct((STAMP,), (), tuple(reversed(slowed) if faster else slowed))
    assert "control" in kinds(conduct)


@given(level, noise, st.floats(1.2, 4.0))
def test_a_control_kernel_that_was_faster_before_is_a_fault(
    seconds: float, shares: list[float], factor: float
) -> None:
    control = tuple(seconds * share for share in shares)
    assert kinds(Conduct((STAMP,), (), control, seconds / factor)) == ["control"]
    assert kinds(Conduct((STAMP,), (), control, seconds * factor)) == ["control"]


def test_the_level_is_not_lifted_by_slow_calls() -> None:
    assert control_level([1.0, 1.0, 1.0, 9.0, 9.0]) == 1.0


def engine(gops: float = 100.0) -> Engine:
    return Engine("a55", "cpu", "", ("cpu",), {"float32": q(gops)}, q(0.1), q(0.1), q(10.0), (0, 1))


BOARD = Board("b", "", (engine(),), (), q(10.0))
MIB = 2**20


def region(flops: int, nbytes: int) -> Region:
    return Region(3, (), (), (), flops, nbytes, 0, "float32", "d")


def test_a_call_faster_than_the_peak_is_impossible() -> None:
    work = region(10**8, MIB)  # 1 ms at 100 Gop/s
    assert impossible(work, engine(), BOARD, 0.6e-3) is None
    fault = impossible(work, engine(), BOARD, 0.4e-3)
    assert fault is not None
    assert fault.kind == "roofline"
    assert "took 0.4 ms on a55, which at its peak needs 1 ms" in fault.reason


def test_traffic_that_may_stay_in_a_cache_is_never_too_fast() -> None:
    assert impossible(region(0, 8 * MIB), engine(), BOARD, 1e-6) is None
    assert impossible(region(0, 64 * MIB), engine(), BOARD, 1e-6) is not None
    known = replace(BOARD, cache_mib=q(2.0))
    assert impossible(region(0, 8 * MIB), engine(), known, 1e-6) is not None


def test_the_limits_can_be_set() -> None:
    hot = replace(FINE, readings=(reading(40.0), reading(70.0)))
    assert kinds(hot) == ["temperature"]
    assert kinds(hot, replace(LIMITS, rise_c=40.0)) == []
