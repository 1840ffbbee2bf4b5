"""A device of another architecture on this machine: its program under qemu's user mode.

Instructions that the chosen CPU lacks end the session that ran them, as on the board. Times under
emulation say nothing about the board's.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeweave.targets.errors import TargetError
from edgeweave.targets.kit.architectures import Architecture, find_architecture, host_architecture
from edgeweave.targets.kit.command import run
from edgeweave.targets.kit.debian import find_qemu, find_root
from edgeweave.targets.kit.errors import EmulationError
from edgeweave.targets.kit.launch import START_LIMIT_S, Launch, RunningDevice, running
from edgeweave.targets.kit.publish import MANIFEST_NAME
from edgeweave.targets.kit.zig import PROGRAM_NAME, Say

_LIST_LIMIT_S = 30


@dataclass(frozen=True)
class Emulator:
    """qemu for an architecture, and the root with the libraries that programs run with."""

    architecture: Architecture
    qemu: Path
    root: Path

    def launch(self, kit: Path, options: Sequence[str] = (), cpu: str | None = None) -> Launch:
        """Start a kit's program on a CPU that qemu knows; without one, on qemu's default.

        Raises EmulationError for a kit of another architecture, TargetError for an unknown CPU.
        """
        check_kit(kit, self.architecture)
        if cpu is not None:
            check_cpu(self.qemu, cpu)
        command = (str(self.qemu), "-L", str(self.root), str(kit / "bin" / PROGRAM_NAME), *options)
        return Launch(command, {} if cpu is None else {"QEMU_CPU": cpu})


def find_emulator(
    architecture: Architecture, cache: Path, say: Say, root: Path | None = None
) -> Emulator:
    """What is needed to emulate an architecture; downloaded where it is not here.

    ``root`` is a folder with the libraries of such a system. Raises TargetError for this machine's
    own architecture, KitError when something cannot be had.
    """
    if architecture == host_architecture():
        raise TargetError(
            f"architecture {architecture}",
            "is this machine's own and needs no emulator",
            f"Start DIR/{PROGRAM_NAME} of a kit itself, or: edgeweave device serve",
        )
    found = find_root(architecture, cache, say, root)
    return Emulator(architecture, find_qemu(architecture, cache, say), found)


@contextmanager
def emulated_device(
    emulator: Emulator,
    kit: Path,
    log: Path,
    options: Sequence[str] = (),
    cpu: str | None = None,
    start_limit_s: float = START_LIMIT_S,
) -> Iterator[RunningDevice]:
    """An emulated device while inside, listening when the block begins; raises EmulationError."""
    with running(emulator.launch(kit, options, cpu), log, start_limit_s) as device:
        yield device


def check_kit(kit: Path, architecture: Architecture) -> None:
    """EmulationError unless the folder is a kit for that architecture."""
    try:
        data = json.loads((kit / MANIFEST_NAME).read_text("utf-8"))
        made_for = find_architecture(data["arch"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TargetError) as error:
        raise EmulationError(
            str(kit),
            f"is no kit: it has no readable {MANIFEST_NAME}",
            "Make one: edgeweave device build",
        ) from error
    if made_for != architecture:
        raise EmulationError(
            str(kit),
            f"is a kit for {made_for}, not for {architecture}",
            f"Make one: edgeweave device build --arch {architecture} -o DIR",
        )


def check_cpu(qemu: Path, cpu: str) -> None:
    """TargetError with the CPUs there are when qemu does not know this one.

    What follows a comma are properties (``rv64,v=true``), which are left to qemu.
    """
    known = known_cpus(qemu)
    name = cpu.partition(",")[0]
    if not known or name in known:
        return
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    next_step = f"{hint}It has: {', '.join(known)}"
    raise TargetError(f"CPU {name!r}", f"is not known to {qemu.name}", next_step)


def known_cpus(qemu: Path) -> tuple[str, ...]:
    """The CPUs that a qemu program lists, by name; empty when it lists none."""
    done = run([qemu, "-cpu", "help"], qemu.name, _LIST_LIMIT_S)
    return parse_cpus(done.stdout)


def parse_cpus(text: str) -> tuple[str, ...]:
    """The names in the answer to ``-cpu help``; x86's has ``x86`` before each and flags after."""
    names = []
    for line in text.splitlines():
        if line.startswith("Recognized"):
            break
        match = re.match(r"\s*(?:x86 )?([\w.+-]+)\s*(?:\s{2}.*|\(.*)?$", line)
        if match:
            names.append(match[1])
    return tuple(names)
