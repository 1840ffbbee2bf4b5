"""The shared memory: what all engines together cannot exceed, however the work is placed.

This is the place of the contention model. Today it holds one law, a bound on throughput: every
frame moves its bytes through one DRAM, so frames cannot follow each other faster than that.
"""

from __future__ import annotations

from edgeweave.partition.costs import CostTable
from edgeweave.partition.errors import PartitionError

SHARED_MEMORY = "shared memory"


def memory_interval(table: CostTable) -> float:
    """Seconds per frame below which the shared memory cannot go: all its bytes / its bandwidth.

    Raises PartitionError when bytes move but the table states no bandwidth.
    """
    total = sum(table.dram_bytes)
    if total == 0:
        return 0.0
    if not table.dram_bytes_per_s > 0:
        raise PartitionError(
            "cost table",
            f"regions move {total} bytes per frame but the memory bandwidth is "
            f"{table.dram_bytes_per_s} bytes/s",
            "State the bandwidth of the memory that the engines share",
        )
    return total / table.dram_bytes_per_s
