"""What LLVM knows of a CPU: whether there is one of that name, and which features its code uses."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache

from tvm.target import Target, codegen

from edgeweave.runtime.cpu_features import KNOWN
from edgeweave.runtime.machine import triple_architecture
from edgeweave.targets.errors import TargetError

_RISCV_LINUX = {"m", "a", "f", "d", "c"}
_SHOWN = 3  # names offered instead of an unknown one


def needed_features(triple: str, cpu: str, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The features, of those a machine can be asked for, that code for the CPU may use; sorted."""
    known = KNOWN.get(triple_architecture(triple), {})
    found = _enabled(triple, cpu, attributes) & known.keys()
    if "vfp4" not in found:
        found.discard("fp16")  # Linux does not tell it of a CPU without VFPv4
    return tuple(sorted(found))


@lru_cache
def check_cpu(where: str, triple: str, cpu: str, attributes: tuple[str, ...]) -> None:
    """Raise TargetError about ``where`` if LLVM does not know the triple, the CPU or a feature.

    LLVM itself would only warn and compile for a generic CPU. An empty ``cpu`` is the generic one.
    """
    architecture = triple_architecture(triple)
    if architecture not in KNOWN:
        raise TargetError(
            where,
            f"mtriple {triple!r} is of no architecture that code is made for",
            f"Known are {', '.join(sorted(KNOWN))}",
        )
    cpus = [str(name) for name in codegen.llvm_get_cpu_archlist(_target(triple, "", ()))]
    if cpu and cpu not in cpus:
        raise TargetError(
            where,
            f"LLVM knows no CPU {cpu!r} of {architecture} (mcpu)",
            _instead(cpu, cpus, "CPU"),
        )
    if architecture == "riscv64":
        _check_riscv(where, triple, cpu, attributes)
    names = _features_of_all(triple, tuple(cpus)) if attributes else frozenset()
    for attribute in attributes:
        if attribute[:1] not in ("+", "-"):
            raise TargetError(
                where,
                f"mattr {attribute!r} neither adds nor removes a feature",
                f"Write +{attribute} or -{attribute}"
                if attribute
                else "Write + or - before the feature's name",
            )
        if attribute[1:] not in names:
            raise TargetError(
                where,
                f"LLVM knows no CPU of {architecture} with the feature {attribute[1:]!r} (mattr)",
                _instead(attribute[1:], names, "feature"),
            )


def _check_riscv(where: str, triple: str, cpu: str, attributes: tuple[str, ...]) -> None:
    lacking = _RISCV_LINUX - _enabled(triple, cpu, attributes)
    if lacking:
        raise TargetError(
            where,
            f"{cpu or 'the generic CPU'} is named without {', '.join(sorted(lacking))}, which "
            "Linux on RISC-V has",
            f"Add {', '.join(f'+{name}' for name in sorted(lacking))} to mattr",
        )


def _instead(word: str, known: Collection[str], kind: str) -> str:
    close = get_close_matches(word.lower(), sorted(known), n=_SHOWN)
    if close:
        return f"Near it are {', '.join(close)}"
    return f"Write the {kind} as LLVM spells it"


@lru_cache
def _features_of_all(triple: str, cpus: tuple[str, ...]) -> frozenset[str]:
    """Every feature that some CPU of the architecture has; about 0.1 s."""
    return frozenset().union(*(_enabled(triple, cpu, ()) for cpu in cpus))


def _enabled(triple: str, cpu: str, attributes: tuple[str, ...]) -> set[str]:
    found = codegen.llvm_get_cpu_features(_target(triple, cpu, attributes))
    return {str(name) for name in found}


def _target(triple: str, cpu: str, attributes: tuple[str, ...]) -> Target:
    keys: dict[str, object] = {"kind": "llvm", "mtriple": triple}
    if cpu:
        keys["mcpu"] = cpu
    if attributes:
        keys["mattr"] = list(attributes)
    return Target(keys)
