"""What Linux tells about the CPU: model, instruction sets, clock, caches, and what follows."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeweave.targets.board import Quantity

_SYS = Path("/sys/devices/system/cpu")
_PROC = Path("/proc")

# LLVM's CPU names, best first, with the features (as /proc/cpuinfo spells them) that code for
# them may use without asking. A name is taken only when the machine has them all.
_NEHALEM = {"sse4_1", "sse4_2", "popcnt"}
_HASWELL = _NEHALEM | {"avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"}
_SKYLAKE = _HASWELL | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "adx"}
_X86_CPUS: tuple[tuple[str, set[str]], ...] = (
    ("cascadelake", _SKYLAKE | {"avx512_vnni"}),
    ("skylake-avx512", _SKYLAKE),
    ("haswell", _HASWELL),
    ("sandybridge", _NEHALEM | {"avx", "pclmulqdq"}),
    ("nehalem", _NEHALEM),
    ("x86-64", set()),
)
_ARM_FEATURES = (("asimd", "+neon"), ("asimddp", "+dotprod"), ("asimdhp", "+fullfp16"))


@dataclass(frozen=True)
class Cpu:
    """The CPU as the kernel describes it. ``clock_mhz`` is None when the kernel does not say.

    ``cores`` are those this process may use, ordered so that hardware threads of one core are
    neighbours; ``physical`` counts the cores behind them.
    """

    machine: str
    model: str
    flags: frozenset[str]
    cores: tuple[int, ...]
    physical: int
    clock_mhz: float | None
    clock_origin: str
    cache_mib: float
    memory_kib: int

    @property
    def identity(self) -> str:
        """A digest of what distinguishes this machine's speed; 16 hexadecimal digits."""
        parts = (self.machine, self.model, self.cores, sorted(self.flags), self.memory_kib)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def read_cpu() -> Cpu:
    """Describe the CPU of this machine as far as this process may use it (Linux)."""
    text = _read(_PROC / "cpuinfo")
    model, flags, mhz = parse_cpuinfo(text)
    placed = sorted((_core_position(core), core) for core in os.sched_getaffinity(0))
    clock, origin = _clock(placed[0][1], model, mhz)
    total = re.search(r"MemTotal:\s*(\d+) kB", _read(_PROC / "meminfo"))
    return Cpu(
        machine=platform.machine(),
        model=model,
        flags=flags,
        cores=tuple(core for _, core in placed),
        physical=len({position for position, _ in placed}),
        clock_mhz=clock,
        clock_origin=origin,
        cache_mib=_last_level_cache_mib(placed[0][1]),
        memory_kib=int(total[1]) if total else 0,
    )


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str], float | None]:
    """Model name, feature flags and current MHz of the first CPU of ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    arm_part = f"{fields.get('cpu implementer', '')} {fields.get('cpu part', '')}".strip()
    model = fields.get("model name") or arm_part or "unknown CPU"
    flags = frozenset((fields.get("flags") or fields.get("features") or "").split())
    try:
        mhz: float | None = float(fields["cpu mhz"])
    except (KeyError, ValueError):
        mhz = None
    return model, flags, mhz


def llvm_target(machine: str, flags: frozenset[str]) -> dict[str, str | tuple[str, ...]]:
    """Keys of an LLVM target whose code this CPU can run; never more than its flags allow."""
    triple = f"{machine}-linux-gnu"
    if machine in ("x86_64", "AMD64"):
        mcpu = next(name for name, needs in _X86_CPUS if needs <= flags)
        target: dict[str, str | tuple[str, ...]] = {"mtriple": triple, "mcpu": mcpu}
        has_vnni = "avx_vnni" in flags and flags >= _HASWELL  # it brings AVX2 with it
        return target | ({"mattr": ("+avxvnni",)} if has_vnni else {})
    if machine == "aarch64":
        attributes = tuple(attr for flag, attr in _ARM_FEATURES if flag in flags)
        return {"mtriple": triple, "mcpu": "generic", "mattr": attributes}
    if machine == "riscv64":  # what every Linux for it assumes
        return {"mtriple": triple, "mcpu": "generic-rv64", "mattr": ("+m", "+a", "+f", "+d", "+c")}
    return {"mtriple": triple, "mcpu": "generic"}


def operations_per_cycle(machine: str, flags: frozenset[str]) -> dict[str, tuple[int, str]]:
    """Operations per cycle and core by precision, each with how it is derived.

    Derived from the instruction set alone. The number of ports is assumed, the most that CPUs with
    those instructions commonly have, because a peak is what no code exceeds. x86 without VNNI
    needs three instructions where VNNI needs one.
    """
    if machine in ("x86_64", "AMD64"):
        return _x86_per_cycle(flags)
    if machine == "aarch64":
        found = {"float32": (16, "NEON, two 128-bit FMA ports assumed")}
        if "asimdhp" in flags:
            found["float16"] = (32, "NEON, two 128-bit FMA ports assumed")
        int8 = (64, "SDOT") if "asimddp" in flags else (32, "widening multiply-add")
        return found | {"int8": (int8[0], f"{int8[1]}, two 128-bit ports assumed")}
    return {"float32": (2, "one scalar FMA per cycle assumed")}


def _x86_per_cycle(flags: frozenset[str]) -> dict[str, tuple[int, str]]:
    if "avx512f" in flags:
        int8 = (
            (256, "AVX-512 VNNI, two 512-bit ports assumed")
            if "avx512_vnni" in flags
            else (85, "AVX-512 without VNNI, two 512-bit ports assumed")
        )
        return {"float32": (64, "AVX-512, two 512-bit FMA ports assumed"), "int8": int8}
    if {"avx2", "fma"} <= flags:
        int8 = (
            (128, "AVX-VNNI, two 256-bit ports assumed")
            if "avx_vnni" in flags
            else (42, "AVX2 without VNNI, two 256-bit ports assumed")
        )
        return {"float32": (32, "AVX2, two 256-bit FMA ports assumed"), "int8": int8}
    if "avx" in flags:
        return {"float32": (16, "AVX, a 256-bit multiply and an add per cycle assumed")}
    return {"float32": (8, "SSE, a 128-bit multiply and an add per cycle assumed")}


def clock_quantity(cpu: Cpu) -> Quantity:
    """The clock in GHz with its origin; a recalled typical value where the kernel gives none."""
    if cpu.clock_mhz is None:
        return Quantity(2.0, "UNSOURCED: the kernel does not tell the clock; 2 GHz assumed")
    return Quantity(cpu.clock_mhz / 1000, cpu.clock_origin)


def _clock(core: int, model: str, mhz: float | None) -> tuple[float | None, str]:
    highest = _read(_SYS / f"cpu{core}/cpufreq/cpuinfo_max_freq").strip()
    if highest.isdigit() and int(highest) > 0:
        return int(highest) / 1000, "Linux cpufreq, cpuinfo_max_freq"
    named = re.search(r"@ ([\d.]+)GHz", model)
    if named:
        return float(named[1]) * 1000, "the CPU's model name"
    return (mhz, "/proc/cpuinfo, cpu MHz") if mhz and mhz > 0 else (None, "")


def _core_position(core: int) -> tuple[int, int]:
    """Package and core behind a hardware thread; each its own core where the kernel is silent."""
    names = ("physical_package_id", "core_id")
    texts = [_read(_SYS / f"cpu{core}/topology/{name}").strip() for name in names]
    return (int(texts[0]), int(texts[1])) if all(t.isdigit() for t in texts) else (0, core)


def _last_level_cache_mib(core: int) -> float:
    sizes = [0.0]
    for path in (_SYS / f"cpu{core}/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KM])", _read(path).strip())
        if found:
            sizes.append(int(found[1]) / (1024 if found[2] == "K" else 1))
    return max(sizes)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def split_cores(cores: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Two halves of the cores, the first not smaller; one group when there is one core."""
    middle = (len(cores) + 1) // 2
    return tuple(half for half in (tuple(cores[:middle]), tuple(cores[middle:])) if half)
