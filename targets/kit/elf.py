"""For which machine an ELF file is: the first 20 bytes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"\x7fELF"
_ORDERS = {1: "little", 2: "big"}
_BITS = {1: 32, 2: 64}
_NAMES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}


@dataclass(frozen=True)
class ElfMachine:
    """What runs a file: ``number`` is its e_machine, ``bits`` the width of its addresses."""

    number: int
    bits: int
    order: str = "little"

    def __str__(self) -> str:
        name = _NAMES.get(self.number, f"ELF machine {self.number}")
        return f"{self.bits} bit {name}" + (" (big endian)" if self.order == "big" else "")


def read_machine(path: Path) -> ElfMachine | None:
    """The machine of an ELF file; None when it is none. Raises OSError when it cannot be read.

    The layout of the header is that of the System V ABI: e_ident (16 bytes), e_type, e_machine.
    """
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or head[:4] != _MAGIC or head[4] not in _BITS or head[5] not in _ORDERS:
        return None
    order = _ORDERS[head[5]]
    number = int.from_bytes(head[18:20], "little" if order == "little" else "big")
    return ElfMachine(number, _BITS[head[4]], order)
