"""What repeated times of one call say: the middle, the spread, and which of them stand apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgeweave.partition.errors import PartitionError

# J. W. Tukey, "Exploratory Data Analysis", 1977: beyond three times the middle half is "far out".
FAR_OUT_IQR = 3.0
# B. Iglewicz, D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC, 1993.
MODIFIED_Z = 3.5
_PER_MAD = 0.6745  # the median deviation of a normal distribution, in standard deviations
_PER_MEAN_AD = 0.7979  # the mean deviation likewise; counts where half the samples are equal
# The middle half of the samples spreads over more than this share of the median: two such figures
# are not told apart by a planner that compares costs.
UNSTEADY_SHARE = 0.2


@dataclass(frozen=True)
class Summary:
    """Median and interquartile range in seconds, the number of samples, and of outliers."""

    seconds: float
    spread_s: float
    repeats: int
    outliers: int

    @property
    def is_unsteady(self) -> bool:
        """Whether the middle half spreads too far for the median to say much."""
        return self.spread_s > UNSTEADY_SHARE * self.seconds


def summarise(seconds: Sequence[float]) -> Summary:
    """The summary of repeated times; outliers count for the median like the others.

    A single time has no spread. PartitionError for none at all.
    """
    if not seconds:
        raise PartitionError("samples", "no time was taken", "Measure at least once")
    low, middle, high = quartiles(seconds)
    return Summary(middle, high - low, len(seconds), len(find_outliers(seconds)))


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; all the same for a single time."""
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    low, _, high = statistics.quantiles(seconds, n=4)
    return low, statistics.median(seconds), high


def find_outliers(seconds: Sequence[float]) -> list[int]:
    """Positions of the times that stand apart from the others, by either of two measures.

    One lies beyond three interquartile ranges from the quartiles, the other has a modified z-score
    above 3.5.
    """
    if len(seconds) < 3:
        return []
    low, middle, high = quartiles(seconds)
    reach = FAR_OUT_IQR * (high - low)
    deviation = [abs(value - middle) for value in seconds]
    scale = statistics.median(deviation) / _PER_MAD or statistics.fmean(deviation) / _PER_MEAN_AD
    return [
        place
        for place, value in enumerate(seconds)
        if value != middle
        and (not low - reach <= value <= high + reach or deviation[place] > MODIFIED_Z * scale)
    ]
