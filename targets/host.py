"""The machine edgeweave runs on, described as a board."""

from __future__ import annotations

from pathlib import Path

from edgeweave.targets.board import Board, Engine, Link, Quantity
from edgeweave.targets.cpuinfo import (
    Cpu,
    clock_quantity,
    llvm_target,
    operations_per_cycle,
    read_cpu,
    split_cores,
)
from edgeweave.targets.host_speed import HostSpeed, cached_speed, measure_host

_EFFICIENCY = Quantity(
    0.143,
    "published tables: median of achieved / peak over layers at batch 1 (docs/costs.md); "
    "calibration on this machine replaces it",
)
_OVERHEAD = Quantity(
    20.0, "UNSOURCED: assumed cost of starting one call; calibration on this machine replaces it"
)


def detect_host(cache: Path | None, refresh: bool = False) -> Board:
    """The board ``host``: the cores this process may use, as two CPU engines where it has two.

    Bandwidth and hand-over are measured once and kept in ``cache`` (None: measured every time)
    under the machine's identity; ``refresh`` measures again. Engines of a machine with unlike cores
    are described by the first core.
    """
    cpu = read_cpu()
    groups = split_cores(cpu.cores)
    threads = {1, len(cpu.cores), *(len(group) for group in groups)}
    clock = clock_quantity(cpu)
    path = cache / f"host-{cpu.identity}.json" if cache else None

    def measure() -> HostSpeed:
        return measure_host(threads, cpu.cache_mib, cpu.memory_kib, clock.value)

    speed = cached_speed(path, threads, measure, refresh)
    return describe_host(cpu, speed)


def describe_host(cpu: Cpu, speed: HostSpeed) -> Board:
    """The board of a machine with that CPU and those measurements; reads nothing else."""
    groups = split_cores(cpu.cores)
    engines = tuple(_engine(f"cpu{i}", group, cpu, speed) for i, group in enumerate(groups))
    copy = speed.copy_gb_s
    links = (
        (
            Link(
                between=(engines[0].name, engines[1].name),
                bandwidth_gb_s=Quantity(copy[1], _copied(speed, "one thread, each byte once")),
                latency_us=Quantity(
                    speed.handover_us, f"measured {speed.date}, between two workers of the runtime"
                ),
            ),
        )
        if len(engines) > 1
        else ()
    )
    return Board(
        name="host",
        description=f"{cpu.model}, {len(cpu.cores)} cores usable",
        engines=engines,
        links=links,
        dram_gb_s=Quantity(2 * max(copy.values()), _copied(speed, "best, reads and writes")),
        is_host=True,
        identity=cpu.identity,
        cache_mib=Quantity(cpu.cache_mib, "last-level cache, as the system states it"),
    )


def _engine(name: str, cores: tuple[int, ...], cpu: Cpu, speed: HostSpeed) -> Engine:
    clock = Quantity(speed.clock_ghz, clock_quantity(cpu).origin)
    # Hardware threads of one core share its arithmetic units.
    physical = len(cores) * cpu.physical / len(cpu.cores)
    counted = f"{physical:g} {'core' if physical == 1 else 'cores'}"
    share = speed.copy_gb_s[len(cores)] / max(speed.copy_gb_s.values())
    return Engine(
        name=name,
        kind="cpu",
        description=f"cores {', '.join(map(str, cores))} of {cpu.model}",
        backends=("cpu", "onnxruntime"),
        peak_gops={
            precision: Quantity(
                physical * clock.value * per_cycle,
                f"derived: {counted} x {clock.value:g} GHz x {per_cycle} operations/cycle ({how})",
            )
            for precision, (per_cycle, how) in operations_per_cycle(cpu.machine, cpu.flags).items()
        },
        compute_efficiency=_EFFICIENCY,
        memory_efficiency=Quantity(share, _copied(speed, "the engine's threads / best")),
        call_overhead_us=_OVERHEAD,
        cores=cores,
        clock_ghz=clock,
        llvm_target=llvm_target(cpu.machine, cpu.flags),
    )


def _copied(speed: HostSpeed, what: str) -> str:
    how = f"numpy copy of {speed.buffer_mib} MiB, best of {speed.repeats}"
    return f"measured {speed.date}, {how}: {what}"
