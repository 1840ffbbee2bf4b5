"""Mixed precision: the fewest regions in float with which every output agrees well enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeweave.compiler.quantize.accuracy import OutputAccuracy
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.sensitivity import Sensitivity

# The accuracy when these regions stay in float.
Verdict = Callable[[Sequence[int]], tuple[OutputAccuracy, ...]]


@dataclass(frozen=True)
class Mix:
    """The regions that stay in float, in the order of their gain, and the accuracy then."""

    regions: tuple[int, ...]
    accuracy: tuple[OutputAccuracy, ...]


def check_floors(floors: Mapping[str, float], outputs: Sequence[str]) -> None:
    """Raise QuantizeError for a floor of an output that the model does not have."""
    for name in floors:
        if name and name not in outputs:
            raise QuantizeError(
                f"--accuracy-floor {name}={floors[name]:g}",
                "names no output of the model",
                f"Outputs: {', '.join(outputs)}",
            )


def missed(accuracy: Sequence[OutputAccuracy], floors: Mapping[str, float]) -> list[str]:
    """The outputs whose agreement is below their floor."""
    return [
        found.name
        for found in accuracy
        if found.agreement < floors.get(found.name, floors.get("", 0.0))
    ]


def find_mix(
    sensitivity: Sensitivity,
    failing: Sequence[str],
    floors: Mapping[str, float],
    verdict: Verdict,
) -> Mix:
    """Leave regions in float, those first that cost the ``failing`` outputs most, until all pass.

    The order comes from the sensitivity alone; how many it takes is found by bisection, each time
    with the model quantised anew and all frames. Then each region that turns out not to be needed
    is taken back, the least sensitive first.
    """
    order = rank(sensitivity, failing)
    known: dict[int, tuple[OutputAccuracy, ...]] = {}

    def passes(count: int) -> bool:
        known[count] = verdict(order[:count])
        return not missed(known[count], floors)

    high = 1
    while high < len(order) and not passes(high):
        high *= 2
    low, high = high // 2, min(high, len(order))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    accuracy = known.get(high) or verdict(order[:high])
    return _trimmed(Mix(tuple(order[:high]), accuracy), floors, verdict)


_MOST_TRIALS = 12


def _trimmed(mix: Mix, floors: Mapping[str, float], verdict: Verdict) -> Mix:
    for region in mix.regions[::-1][:_MOST_TRIALS]:
        fewer = tuple(r for r in mix.regions if r != region)
        if fewer and not missed(accuracy := verdict(fewer), floors):
            mix = Mix(fewer, accuracy)
    return mix


def rank(sensitivity: Sensitivity, failing: Sequence[str]) -> list[int]:
    """All regions, in the order in which to leave them in float.

    Next is always the region, or the regions around one value, that takes most of the error per
    region: a value between regions is only a float when all that write and read it are.
    """
    shares = _Shares(sensitivity, failing)
    pending = {frozenset([region]) for region in range(len(sensitivity.inner))}
    pending |= set(sensitivity.touching.values())
    order: list[int] = []
    while pending:
        best = max(pending, key=lambda move: (shares.gain(move), -min(move)))
        added = sorted(best - shares.kept, key=lambda r: (-shares.of_region[r], r))
        shares.kept.update(added)
        order += added
        pending = {move for move in pending if not move <= shares.kept}
    return order


class _Shares:
    """The share of each cause in the error of the failing outputs; ``kept`` are float already."""

    def __init__(self, sensitivity: Sensitivity, failing: Sequence[str]) -> None:
        self.kept: set[int] = set()
        self._touching = sensitivity.touching
        chosen = np.array([name in failing for name in sensitivity.outputs], np.float64)
        whole = sensitivity.whole()
        weight = np.divide(chosen, whole, out=np.zeros_like(whole), where=whole > 0)
        self._inner = [float(error @ weight) for error in sensitivity.inner]
        self._values = {n: float(error @ weight) for n, error in sensitivity.values.items()}
        self._around: dict[int, set[str]] = {}
        for name, regions in sensitivity.touching.items():
            for region in regions:
                self._around.setdefault(region, set()).add(name)
        self.of_region = [
            inner + sum(self._values[name] for name in produced)
            for inner, produced in zip(self._inner, sensitivity.produced, strict=True)
        ]

    def gain(self, move: frozenset[int]) -> float:
        """What leaving these regions in float takes of the error, per region that is added."""
        added = move - self.kept
        then = self.kept | added
        near = {name for region in added for name in self._around.get(region, ())}
        freed = sum(self._values[name] for name in near if self._touching[name] <= then)
        return (sum(self._inner[region] for region in added) + freed) / len(added)
