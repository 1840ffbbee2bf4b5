"""The processor architectures that a device may have, under all their names."""

from __future__ import annotations

from dataclasses import dataclass

from edgeweave.runtime.machine import machine_architecture
from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.elf import ElfMachine


@dataclass(frozen=True)
class Architecture:
    """One architecture as each tool calls it.

    ``name`` is LLVM's; ``shown`` is what the command line says. ``wheel_platforms`` are the
    platform tags that TVM's wheels may have, best first; empty where none are published.
    ``loader`` is the dynamic loader's path below the root of a system.
    """

    name: str
    shown: str
    other_names: tuple[str, ...]
    triple: str
    zig_target: str
    wheel_platforms: tuple[str, ...]
    debian: str
    qemu: str
    loader: str
    machine: ElfMachine

    def __str__(self) -> str:
        return self.shown

    @property
    def glibc(self) -> str:
        """The oldest C library that the device program runs with: ``2.28``."""
        return self.zig_target.partition(".")[2]


def _manylinux(machine: str) -> tuple[str, ...]:
    """Tags of the wheels that run with glibc 2.28: those of it and of every older one."""
    return tuple(f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1))


ARCHITECTURES = (
    Architecture(
        name="aarch64",
        shown="aarch64",
        other_names=("arm64", "armv8"),
        triple="aarch64-linux-gnu",
        zig_target="aarch64-linux-gnu.2.28",
        wheel_platforms=_manylinux("aarch64"),
        debian="arm64",
        qemu="aarch64",
        loader="lib/ld-linux-aarch64.so.1",
        machine=ElfMachine(183, 64),
    ),
    Architecture(
        name="arm",
        shown="armv7",
        other_names=("armhf", "armv7l", "armv7a"),
        triple="armv7a-linux-gnueabihf",
        zig_target="arm-linux-gnueabihf.2.28",
        wheel_platforms=(),
        debian="armhf",
        qemu="arm",
        loader="lib/ld-linux-armhf.so.3",
        machine=ElfMachine(40, 32),
    ),
    Architecture(
        name="riscv64",
        shown="riscv64",
        other_names=("riscv", "rv64"),
        triple="riscv64-linux-gnu",
        # a young port: 2.35 is what Ubuntu 22.04 has, and Debian's first is newer
        zig_target="riscv64-linux-gnu.2.35",
        wheel_platforms=(),
        debian="riscv64",
        qemu="riscv64",
        loader="lib/ld-linux-riscv64-lp64d.so.1",
        machine=ElfMachine(243, 64),
    ),
    Architecture(
        name="x86_64",
        shown="x86-64",
        other_names=("x86_64", "amd64", "x64"),
        triple="x86_64-linux-gnu",
        zig_target="x86_64-linux-gnu.2.28",
        wheel_platforms=_manylinux("x86_64"),
        debian="amd64",
        qemu="x86_64",
        loader="lib64/ld-linux-x86-64.so.2",
        machine=ElfMachine(62, 64),
    ),
)


def find_architecture(name: str) -> Architecture:
    """The architecture of that name, in anybody's spelling; TargetError when there is none."""
    wanted = name.strip().lower()
    for architecture in ARCHITECTURES:
        if wanted in (architecture.name, architecture.shown, *architecture.other_names):
            return architecture
    known = ", ".join(map(str, ARCHITECTURES))
    raise TargetError(f"architecture {name!r}", "is not known", f"Those known are: {known}")


def host_architecture() -> Architecture:
    """This machine's; TargetError when it is none that a device may have."""
    return find_architecture(machine_architecture())
