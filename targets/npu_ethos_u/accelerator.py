"""An Ethos-U with all settings that Vela's code and estimate depend on."""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from edgeweave.targets.board import Engine
from edgeweave.targets.errors import TargetError
from edgeweave.targets.npu_ethos_u.errors import VelaMissingError
from edgeweave.targets.npu_ethos_u.installed import missing

# Vela's name -> (its name of the architecture, multiply-adds per cycle of a core, cores)
ACCELERATORS: Mapping[str, tuple[str, int, int]] = {
    "ethos-u55-32": ("EthosU55", 32, 1),
    "ethos-u55-64": ("EthosU55", 64, 1),
    "ethos-u55-128": ("EthosU55", 128, 1),
    "ethos-u55-256": ("EthosU55", 256, 1),
    "ethos-u65-256": ("EthosU65", 256, 1),
    "ethos-u65-512": ("EthosU65", 256, 2),
    "ethos-u85-128": ("EthosU85", 128, 1),
    "ethos-u85-256": ("EthosU85", 256, 1),
    "ethos-u85-512": ("EthosU85", 512, 1),
    "ethos-u85-1024": ("EthosU85", 1024, 1),
    "ethos-u85-2048": ("EthosU85", 2048, 1),
}
# Bits of an address of its memory ports: what Vela takes for the arena where nothing limits it.
_ADDRESS_BITS = {"EthosU55": 32, "EthosU65": 40, "EthosU85": 40}
_WRITABLE = ("Sram", "Dram")
_REQUIRED = ("accelerator", "system_config", "memory_mode")
_KEYS = (*_REQUIRED, "arena_cache_kib")


@dataclass(frozen=True)
class Accelerator:
    """Settings of Vela for one NPU; none has a default, for each can move an estimate severalfold.

    ``name``, ``system_config`` and ``memory_mode`` are Vela's. ``architecture`` is EthosU55,
    EthosU65 or EthosU85; ``macs`` multiply-adds per cycle of each of the ``cores``.
    ``core_clock_hz`` is the system configuration's. ``arena_limit_bytes`` is what Vela plans to use
    of the SRAM at most: the board's ``arena_cache_kib``, else the memory mode's, else all that can
    be addressed.
    """

    name: str
    architecture: str
    macs: int
    cores: int
    system_config: str
    memory_mode: str
    core_clock_hz: float
    arena_limit_bytes: int

    def settings(self) -> dict[str, Any]:
        """What an estimate depends on, as JSON data; stored with every figure."""
        return {
            "accelerator": self.name,
            "system_config": self.system_config,
            "memory_mode": self.memory_mode,
            "core_clock_hz": self.core_clock_hz,
            "arena_limit_bytes": self.arena_limit_bytes,
        }

    def system_text(self) -> str:
        """What Vela's command line passes to the compiler: the chosen names and Vela's file."""
        return (
            f"[architecture]\nmacs={self.macs}\ncores={self.cores}\n"
            f"[vela]\nsystem_config_name={self.system_config}\n"
            f"memory_mode_name={self.memory_mode}\n{_vela_ini()}"
        )


def find_architecture(engine: Engine) -> str | None:
    """``EthosU55``, ``EthosU65`` or ``EthosU85``; None when the engine names no Ethos-U.

    Needs nothing installed.
    """
    known = ACCELERATORS.get(engine.vendor.get("accelerator", ""))
    return known[0] if known else None


def read_accelerator(engine: Engine) -> Accelerator:
    """The accelerator that the engine's ``vendor`` settings describe; raises TargetError."""
    at, given = f"engine {engine.name}", engine.vendor
    for key in given:
        if key not in _KEYS:
            raise TargetError(at, f"vendor has an unknown key {key!r}", f"Known: {_list(_KEYS)}")
    for key in _REQUIRED:
        if key not in given:
            raise TargetError(at, f"vendor lacks {key}", f"It must have {_list(_REQUIRED)}")
    name = given["accelerator"]
    _check_known(at, "accelerator", name, list(ACCELERATORS))
    architecture, macs, cores = ACCELERATORS[name]
    ini = _parsed_ini(at)
    config, mode = given["system_config"], given["memory_mode"]
    # Vela takes any; the bandwidths of another architecture's ports would be meaningless
    fitting = [c for c in _sections(ini, "System_Config") if _family(architecture) in c]
    _check_known(at, "system_config", config, fitting, f" for {name}")
    _check_known(at, "memory_mode", mode, _sections(ini, "Memory_Mode"))
    _check_arena(at, ini, config, mode)
    return Accelerator(
        name=name,
        architecture=architecture,
        macs=macs,
        cores=cores,
        system_config=config,
        memory_mode=mode,
        core_clock_hz=float(ini[f"System_Config.{config}"]["core_clock"]),
        arena_limit_bytes=_arena_limit(at, ini, mode, given.get("arena_cache_kib"), architecture),
    )


def _check_known(at: str, key: str, value: str, known: list[str], of: str = "") -> None:
    if value not in known:
        reason = f"Vela has no {key} {value!r}{of}"
        raise TargetError(at, reason, f"It has {_list(known)}")


def _check_arena(at: str, ini: ConfigParser, config: str, mode: str) -> None:
    """Vela's command line refuses an arena in flash; the compiler below it would plan one."""
    memory = _arena_memory(ini, config, mode)
    if memory in _WRITABLE:
        return
    modes = _sections(ini, "Memory_Mode")
    fitting = [other for other in modes if _arena_memory(ini, config, other) in _WRITABLE]
    raise TargetError(
        at,
        f"memory_mode {mode!r} puts the arena into {memory} with system_config {config!r}",
        f"Choose one of {_list(fitting)}",
    )


def _arena_memory(ini: ConfigParser, config: str, mode: str) -> str:
    """The memory behind the port that the mode's arena is on."""
    port = _mode_value(ini, mode, "arena_mem_area")
    return ini[f"System_Config.{config}"][f"{port}_port".lower()]


def _arena_limit(
    at: str, ini: ConfigParser, mode: str, given: str | None, architecture: str
) -> int:
    most = 1 << _ADDRESS_BITS[architecture]
    if given is None:
        return int(_mode_value(ini, mode, "arena_cache_size") or most)
    if not given.isascii() or not given.isdigit() or not 0 < int(given) * 1024 <= most:
        raise TargetError(
            at,
            f"vendor.arena_cache_kib is {given!r}",
            f"It must be a whole number of KiB from 1 to {most // 1024}, in quotes",
        )
    return int(given) * 1024


def _mode_value(ini: ConfigParser, mode: str, key: str) -> str | None:
    """The value in the memory mode's section, or in the one that it inherits from."""
    section = ini[f"Memory_Mode.{mode}"]
    if key in section:
        return section[key]
    parent = section.get("inherit", "")
    return _mode_value(ini, parent.removeprefix("Memory_Mode."), key) if parent else None


def _sections(ini: ConfigParser, kind: str) -> list[str]:
    return [s.removeprefix(f"{kind}.") for s in ini.sections() if s.startswith(f"{kind}.")]


def _family(architecture: str) -> str:
    return architecture.replace("Ethos", "Ethos_") + "_"


def _parsed_ini(at: str) -> ConfigParser:
    lacking = missing()
    if lacking:
        raise VelaMissingError(at, lacking)
    ini = ConfigParser()
    ini.read_string(_vela_ini())
    return ini


@cache
def _vela_ini() -> str:
    """The file of system configurations and memory modes that comes with Vela."""
    return (files("ethosu") / "config_files/Arm/vela.ini").read_text(encoding="utf-8")


def _list(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)
