"""What this machine's CPU can do, in LLVM's words, so that no code is loaded that it cannot run.

Only features that a compiler uses unasked and that Linux reports are known here: no cryptography,
no system instructions. ``runtime/device/cpu_features.cc`` holds the same names for devices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from edgeweave.runtime.machine import machine_architecture

_CPUINFO = Path("/proc/cpuinfo")

_X86_RENAMED = {
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "avxvnni": "avx_vnni",
    "amx-tile": "amx_tile",
    "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
} | {
    f"avx512{name}": f"avx512_{name}"
    for name in ("bf16", "bitalg", "fp16", "vbmi2", "vnni", "vpopcntdq")
}
_X86_SAME = (
    "popcnt avx avx2 fma f16c bmi2 movbe gfni avx512f avx512bw avx512cd avx512dq avx512vl "
    "avx512ifma avx512vbmi".split()
)
_RISCV = "m a f d c v zfh zfa zba zbb zbs zcb zicond zvfh zvbb".split()

# Architecture -> LLVM's name of a feature -> the words of /proc/cpuinfo that together mean it.
KNOWN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x86_64": {name: (flag,) for name, flag in _X86_RENAMED.items()}
    | {name: (name,) for name in _X86_SAME},
    "aarch64": {
        "neon": ("asimd",),
        "fullfp16": ("fphp", "asimdhp"),
        "dotprod": ("asimddp",),
        "fp16fml": ("asimdfhm",),
        "i8mm": ("i8mm",),
        "bf16": ("bf16",),
        "lse": ("atomics",),
        "rdm": ("asimdrdm",),
        "rcpc": ("lrcpc",),
        "sve": ("sve",),
        "sve2": ("sve2",),
    },
    "arm": {
        "neon": ("neon",),
        "vfp4": ("vfpv4",),
        "fp16": ("vfpv4",),  # Linux reports conversions of half floats only as part of VFPv4
        "hwdiv-arm": ("idiva",),
    },
    "riscv64": {name: (name,) for name in _RISCV},
}


# The line of /proc/cpuinfo that lists them.
_KEYS = {"x86_64": "flags", "aarch64": "Features", "arm": "Features", "riscv64": "isa"}


def present_features(text: str, architecture: str) -> frozenset[str] | None:
    """The known features that every CPU in the text of ``/proc/cpuinfo`` has; None: it says none.

    ``architecture`` is a key of ``KNOWN``.
    """
    key = _KEYS.get(architecture)
    lists = re.findall(rf"^{key}[ \t]*:(.*)$", text, re.MULTILINE) if key else []
    if not lists:
        return None
    words = _isa_words if architecture == "riscv64" else str.split
    common = frozenset.intersection(*(frozenset(words(line)) for line in lists))
    return frozenset(
        name for name, flags in KNOWN[architecture].items() if common.issuperset(flags)
    )


def _isa_words(text: str) -> list[str]:
    """``rv64imafdc_zicsr_zba`` as words: each letter after the width, then the longer names."""
    letters, *longer = text.strip().lower().split("_")
    return [*letters.removeprefix("rv64").replace("g", "imafd"), *longer]


@cache
def machine_features() -> frozenset[str] | None:
    """The known features of this machine; None where Linux does not tell."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return present_features(text, machine_architecture())


def lacking_features(needed: Iterable[str]) -> list[str]:
    """Those of the needed features that this machine does not have, sorted.

    None of them where Linux does not tell, as in a container under an emulator.
    """
    present = machine_features()
    return [] if present is None else sorted(set(needed) - present)
