"""What becomes of a batch that ends its session, or of a device that does not keep still."""

from types import SimpleNamespace

import pytest

from edgeweave.compiler.devices import timing as device_timing
from edgeweave.compiler.devices.timing import Lost, Timed, time_regions
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.partition.prediction.soundness import Fault
from edgeweave.targets.devices.faults import LinkCut, SessionDied

STAMP = DeviceStamp("rack-01", "", "aarch64", (), "measured")


class Bench:
    """As much of a device as the order of things needs."""

    def __init__(self):
        self.sessions = 1
        self.effort = SimpleNamespace(pause_s=0.0)

    def freshen(self):
        pass

    def renew(self):
        self.sessions += 1


def tried(*names):
    return [SimpleNamespace(region=SimpleNamespace(name=name)) for name in names]


def timed(batch, *faults):
    return Timed(tuple(each.region for each in batch), STAMP, {}, tuple(faults))


@pytest.fixture
def timing(monkeypatch):
    """Put a function in place of the run on a device."""
    return lambda once: monkeypatch.setattr(device_timing, "_time_once", once)


def test_a_region_that_ends_the_session_is_found_and_all_others_are_timed(timing):
    def once(_bench, batch, _control):
        if any(each.region.name == "bad" for each in batch):
            raise SessionDied("device", "SIGSEGV", signal="SIGSEGV")
        return timed(batch)

    timing(once)
    bench = Bench()
    found = list(time_regions(bench, tried("a", "b", "bad", "c", "d"), None))
    lost = [each for each in found if isinstance(each, Lost)]
    assert [(each.region.name, each.reason) for each in lost] == [("bad", "SIGSEGV")]
    good = [region.name for each in found if isinstance(each, Timed) for region in each.regions]
    assert sorted(good) == ["a", "b", "c", "d"]
    assert bench.sessions == 1 + 3  # five regions, then c with bad and d, then bad alone


def test_what_is_wrong_with_the_link_is_no_regions_fault(timing):
    def once(_bench, _batch, _control):
        raise LinkCut("device", "the cable was pulled")

    timing(once)
    with pytest.raises(LinkCut):
        list(time_regions(Bench(), tried("a", "b"), None))


def test_nothing_to_time_opens_nothing(timing):
    timing(None)
    assert list(time_regions(Bench(), [], None)) == []


@pytest.mark.parametrize(
    ("kinds", "runs"),
    [([], 1), (["control"], 2), (["roofline"], 1), (["cores", "temperature"], 2)],
)
def test_a_batch_is_timed_once_more_where_a_rest_may_help(timing, kinds, runs):
    seen = []

    def once(_bench, batch, _control):
        seen.append(batch)
        return timed(batch, *(Fault(kind, "so it was") for kind in kinds))

    timing(once)
    (result,) = time_regions(Bench(), tried("a"), None)
    assert [fault.kind for fault in result.faults] == kinds
    assert len(seen) == runs


def test_a_device_that_behaves_after_a_rest_is_measured(timing):
    answers = [[Fault("control", "busy")], []]
    timing(lambda _bench, batch, _control: timed(batch, *answers.pop(0)))
    (result,) = time_regions(Bench(), tried("a"), None)
    assert result.faults == ()
