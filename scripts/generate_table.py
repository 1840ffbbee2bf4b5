"""A cost table that looks like a large network on a board with a CPU, a GPU, an NPU and a DSP.

Blocks follow each other: plain operators, residual blocks, branches that are joined again, and a
few long skips. Operators differ in what suits them, no engine is best at all of them, and the NPU
takes neither the post-processing at the end nor some normalisations. All follows from the seed.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from edgeweave.partition.costs import Cost, CostTable, Source, Transfer
from edgeweave.partition.files.table_json import table_to_json
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.region import Value

ENGINES = ("cpu0", "gpu0", "npu0", "dsp0")
# What an operator takes on each engine, relative to a convolution on the NPU; None: refused.
SPEED: dict[str, tuple[float | None, ...]] = {
    "conv": (8.0, 2.5, 1.0, 1.6),
    "depthwise": (4.0, 2.0, 1.5, 3.0),
    "activation": (1.0, 0.6, 0.5, 0.4),
    "matmul": (6.0, 1.5, 2.0, 1.2),
    "norm": (1.0, 0.8, 2.0, 0.6),
    "rare": (1.0, 0.8, None, 0.6),
    "add": (1.0, 0.6, 0.4, 0.5),
    "concat": (0.6, 0.5, 0.5, 0.5),
    "post": (1.0, 1.2, None, 1.5),
}
USUAL = ("conv", "conv", "conv", "depthwise", "activation", "matmul", "norm")
SHAPES = {
    "mixed": ("plain", "residual", "residual", "branches"),
    "residual": ("residual",),
    "branches": ("branches",),
}
POST_SHARE = 0.2  # of the regions, at the end
CALL_S, LINK_S, BYTES_PER_S = 30e-6, 20e-6, 5e9


@dataclass
class Graph:
    """Operators in topological order and who reads each of them."""

    random: random.Random
    limit: int
    kinds: list[str] = field(default_factory=list)
    readers: dict[int, list[int]] = field(default_factory=dict)

    def add(self, kind: str, *sources: int) -> int:
        """A region of that kind behind the given ones."""
        index = len(self.kinds)
        self.kinds.append(kind)
        for source in dict.fromkeys(sources):
            self.readers.setdefault(source, []).append(index)
        return index

    def run(self, start: int, length: int) -> int:
        """So many operators one behind the other."""
        for _ in range(length):
            start = self.add(self.usual(), start)
        return start

    def usual(self) -> str:
        """An operator as it stands anywhere, or one of the post-processing at the end."""
        if len(self.kinds) > (1 - POST_SHARE) * self.limit and self.random.random() < 0.3:
            return "post"
        return "rare" if self.random.random() < 0.001 else self.random.choice(USUAL)

    def block(self, shape: str, start: int) -> int:
        """One block; its last region."""
        if shape == "residual":
            return self.add("add", self.run(start, self.random.randint(2, 4)), start)
        if shape == "branches":
            count = self.random.randint(2, 4)
            ends = [self.run(start, self.random.randint(1, 4)) for _ in range(count)]
            return self.add("concat", *ends)
        return self.run(start, 1)


def network(regions: int, seed: int, shape: str = "mixed") -> CostTable:
    """The table of a network with so many regions."""
    graph = Graph(random.Random(seed), regions)
    at = graph.add("conv")
    skips: list[int] = []
    while len(graph.kinds) < regions - 20:
        at = graph.block(graph.random.choice(SHAPES[shape]), at)
        if graph.random.random() < 0.03:
            skips.append(at)
        elif skips and graph.random.random() < 0.03:
            at = graph.add("concat", at, skips.pop(graph.random.randrange(len(skips))))
    graph.run(at, regions - len(graph.kinds))
    return _table(graph)


def _table(graph: Graph) -> CostTable:
    width = range(len(ENGINES))
    link = Transfer(LINK_S, 1 / BYTES_PER_S, Source.GIVEN)
    here = Transfer(0.0, 0.0, Source.GIVEN)
    return CostTable(
        regions=tuple(f"r{i:05d} {kind}" for i, kind in enumerate(graph.kinds)),
        slots=tuple(Slot(engine, "given") for engine in ENGINES),
        costs=tuple(_costs(graph.random, kind) for kind in graph.kinds),
        values=tuple(
            Value(f"v{a}", a, tuple(readers), graph.random.choice((50, 100, 200)) * 1024, False)
            for a, readers in sorted(graph.readers.items())
        ),
        transfers=tuple(tuple(here if a == b else link for b in width) for a in width),
        stage_overhead_s=(CALL_S,) * len(ENGINES),
        dram_bytes=(0,) * len(graph.kinds),
        dram_bytes_per_s=0.0,
    )


def _costs(source: random.Random, kind: str) -> tuple[Cost | Refusal, ...]:
    base = source.lognormvariate(0, 0.6) * 40e-6
    return tuple(
        Refusal("generated.operator", f"no {kind}")
        if speed is None
        else Cost(base * speed * source.lognormvariate(0, 0.2), Source.GIVEN)
        for speed in SPEED[kind]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the table, for edgeweave plan --costs")
    parser.add_argument("--regions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="mixed")
    options = parser.parse_args()
    table = network(options.regions, options.seed, options.shape)
    options.output.write_text(json.dumps(table_to_json(table), indent=1) + "\n")


if __name__ == "__main__":
    main()
