"""Boards: engines, memory and links of a named SoC or module, each number with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNSOURCED = "UNSOURCED"


@dataclass(frozen=True)
class Quantity:
    """A number and where it comes from; the unit is in the name of the field that holds it."""

    value: float
    origin: str

    @property
    def is_sourced(self) -> bool:
        """Whether a document or a measurement stands behind the number."""
        return not self.origin.startswith(UNSOURCED)


@dataclass(frozen=True)
class Engine:
    """One schedulable compute unit of a board: a CPU cluster, a GPU, an NPU, a DSP.

    ``backends`` are the names of the backends that can make code for it, preferred first.
    ``peak_gops`` maps a precision (``float32``, ``float16``, ``int8``) to the peak of the whole
    engine in 10^9 operations per second, a multiply-add counted as two; a precision that is absent
    is one the engine cannot compute in. ``compute_efficiency`` is the share of that peak, and
    ``memory_efficiency`` the share of the DRAM bandwidth, that real layers reach (0 to 1).
    ``call_overhead_us`` is the fixed cost of starting one stage. ``cores`` are the operating
    system's core numbers of a CPU engine; empty for others. ``llvm_target`` are the keys of TVM's
    LLVM target (``mtriple``, ``mcpu``, ``mattr``) of a CPU engine; empty for others. ``memory_mib``
    is memory of the engine's own, whatever it is for; ``weights_mib`` is the most that it can hold
    of weights (None: no limit is known). ``power_w`` is what it draws while it works. ``vendor``
    are settings of the vendor's compiler, by the names that the backend documents.
    """

    name: str
    kind: str  # "cpu", "gpu", "npu" or "dsp"
    description: str
    backends: tuple[str, ...]
    peak_gops: Mapping[str, Quantity]
    compute_efficiency: Quantity
    memory_efficiency: Quantity
    call_overhead_us: Quantity
    cores: tuple[int, ...] = ()
    clock_ghz: Quantity | None = None
    memory_mib: Quantity | None = None
    weights_mib: Quantity | None = None
    power_w: Quantity | None = None
    llvm_target: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    vendor: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """How values pass between two engines: bandwidth of the copy and its fixed cost."""

    between: tuple[str, str]
    bandwidth_gb_s: Quantity
    latency_us: Quantity


@dataclass(frozen=True)
class Board:
    """A named SoC or module.

    ``dram_gb_s`` is the bandwidth of the memory that all engines share, in 10^9 bytes per second,
    ``cache_mib`` the cache before it that they share too (None: not known, counted as none).
    ``contention_knee_gb_s`` and ``contention_slope`` say how engines slow each other down there
    (None: not known; docs/contention.md). ``is_host`` marks the machine edgeweave runs on, where
    costs can be measured and stages run.
    ``identity`` distinguishes two machines or revisions under one name; measurements carry it.
    """

    name: str
    description: str
    engines: tuple[Engine, ...]
    links: tuple[Link, ...]
    dram_gb_s: Quantity
    is_host: bool = False
    identity: str = ""
    cache_mib: Quantity | None = None
    contention_knee_gb_s: Quantity | None = None
    contention_slope: Quantity | None = None

    def engine(self, name: str) -> Engine:
        """The engine of that name; KeyError when there is none."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise KeyError(name)

    def link(self, a: str, b: str) -> Link:
        """The link between two different engines, in either direction; KeyError when absent."""
        for link in self.links:
            if set(link.between) == {a, b}:
                return link
        raise KeyError(f"{a}-{b}")

    def quantities(self) -> dict[str, Quantity]:
        """Every number of the board, by a dotted name (``engine.a53.clock_ghz``)."""
        found = {"memory.dram_gb_s": self.dram_gb_s}
        for key in ("cache_mib", "contention_knee_gb_s", "contention_slope"):
            quantity = getattr(self, key)
            if quantity is not None:
                found[f"memory.{key}"] = quantity
        for engine in self.engines:
            prefix = f"engine.{engine.name}"
            found |= {f"{prefix}.peak_{p}_gops": q for p, q in engine.peak_gops.items()}
            for key in (
                "compute_efficiency",
                "memory_efficiency",
                "call_overhead_us",
                "clock_ghz",
                "memory_mib",
                "weights_mib",
                "power_w",
            ):
                quantity = getattr(engine, key)
                if quantity is not None:
                    found[f"{prefix}.{key}"] = quantity
        for link in self.links:
            prefix = f"link.{link.between[0]}-{link.between[1]}"
            found[f"{prefix}.bandwidth_gb_s"] = link.bandwidth_gb_s
            found[f"{prefix}.latency_us"] = link.latency_us
        return found
