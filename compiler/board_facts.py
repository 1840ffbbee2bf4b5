"""What devices that were profiled for a board showed of it, as far as a plan may use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeweave.compiler.code_version import code_version
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.verdicts import CheckRecord, find_verdicts, record_key
from edgeweave.partition.prediction.measurements import MeasureKey, Readings
from edgeweave.partition.prediction.provenance import DeviceStamp
from edgeweave.targets.backend import Refusal
from edgeweave.targets.board import Board, Engine
from edgeweave.targets.region import Region

RUNNER_RULE = "device.runner"
# Backends whose stages a device runs only where it says so.
_RUNNERS = ("onnxruntime",)


@dataclass(frozen=True)
class DeviceUse:
    """What a plan takes from one device. ``date`` is that of the latest.

    Costs and verdicts are of the model's distinct regions on each kind of engine.
    """

    device: DeviceStamp
    date: str
    costs: int = 0
    calls: int = 0
    links: int = 0
    calibrations: int = 0
    verdicts: int = 0


# what is used, from which device and when, by what it is of
_Used = tuple[str, DeviceStamp, str, object]


class BoardFacts:
    """Verdicts, costs and runners of a board's devices. ``board`` has what was measured of it.

    ``emulated`` counts the figures that are known from emulated devices, and ``stale`` the regions
    that were measured with code of other versions only; none of them is used.
    """

    def __init__(
        self, board: Board, readings: Readings, records: Iterable[CheckRecord] = ()
    ) -> None:
        self.board = readings.calibrated(board)
        self._readings = readings
        self._measured = readings.latest(current_versions(readings))
        self._verdicts = find_verdicts(records, board.identity)
        self.emulated = len(readings.emulated(board, current_versions(readings)))
        held = {key for key in readings.latest() if key.board == board.identity}
        self.stale = len(held - set(self._measured))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on figures that are left out."""
        name = self.board.name
        found = []
        if self.emulated:
            found.append(
                f"{_counted(self.emulated, 'emulated')} of {name} left out: a plan takes no cost "
                "from an emulated device"
            )
        if self.stale:
            found.append(
                f"{_counted(self.stale, 'measured')} of {name} left out: the code of today is "
                "another; profile the board again"
            )
        return tuple(found)

    def verdict(self, region: Region, engine: Engine, backend: str) -> CheckRecord | None:
        """What a device of the board showed of the backend's code for the region."""
        return self._verdicts.get(record_key(region, engine, backend))

    def refuse_runner(self, backend: str) -> Refusal | None:
        """A refusal when the device that was profiled last cannot run what the backend makes."""
        known = self._readings.device(self.board)
        if known is None or backend not in _RUNNERS or backend in known.runners:
            return None
        emulated = ", emulated" if known.device.is_emulated else ""
        return Refusal(
            RUNNER_RULE,
            f"{known.device.name} runs no {backend} stages (profiled {known.date}{emulated})",
        )

    def uses(self, regions: Sequence[Region]) -> tuple[DeviceUse, ...]:
        """What a plan of these regions takes from each device, real ones first."""
        by_device: dict[tuple[bool, str, str], list[_Used]] = {}
        for used in self._used(regions):
            device = used[1]
            key = (device.is_emulated, device.name, device.serial)
            by_device.setdefault(key, []).append(used)
        return tuple(_use_of(by_device[key]) for key in sorted(by_device))

    def _used(self, regions: Sequence[Region]) -> Iterator[_Used]:
        empty = empty_call().graph.regions[0]
        for engine in self.board.engines:
            for backend in engine.backends:
                for region in (*regions, empty):
                    key = MeasureKey.of(region, engine, backend, self.board)
                    found = self._measured.get(key)
                    if found is not None and found.device is not None:
                        what = "calls" if region is empty else "costs"
                        yield what, found.device, found.date, key
                    verdict = self.verdict(region, engine, backend)
                    if verdict is not None and verdict.device is not None and region is not empty:
                        yield "verdicts", verdict.device, verdict.date, verdict.key
        for name, fit in self._readings.fitted(self.board).items():
            if fit.device is not None:
                yield "calibrations", fit.device, fit.date, name
        for place, link in self._readings.linked(self.board).items():
            yield "links", link.device, link.date, place


def current_versions(readings: Readings) -> Mapping[str, str]:
    """The versions of each measured backend that what it makes has today."""
    backends = {m.key.backend for m in readings.measurements}
    return {name: code_version(name) for name in backends}


def _counted(number: int, word: str) -> str:
    return f"{number} {word} figure{'' if number == 1 else 's'}"


def _use_of(found: Sequence[_Used]) -> DeviceUse:
    keys: dict[str, set[object]] = {}
    for what, _, _, key in found:
        keys.setdefault(what, set()).add(key)
    _, device, date, _ = max(found, key=lambda used: used[2])
    return DeviceUse(device, date, **{what: len(own) for what, own in keys.items()})
