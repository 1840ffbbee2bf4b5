"""Finding boards: the bundled ones, a user's own file, and the machine edgeweave runs on."""

from __future__ import annotations

import difflib
import os
from importlib.resources import files
from pathlib import Path

from edgeweave.targets.board import Board
from edgeweave.targets.board_schema import parse_board
from edgeweave.targets.errors import TargetError

__all__ = ["bundled_boards", "load_board", "parse_board"]


def bundled_boards() -> tuple[str, ...]:
    """Names of the boards that edgeweave describes, in alphabetical order."""
    folder = files("edgeweave.targets") / "boards"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_board(path_or_name: str) -> Board:
    """The board of that name, of that ``.toml`` file, or the detected machine for ``host``.

    Raises TargetError for an unknown name and for a file that cannot be read or is malformed.
    """
    if path_or_name == "host":
        from edgeweave.targets.cache import open_cache
        from edgeweave.targets.host import detect_host

        return detect_host(open_cache())
    if path_or_name.endswith(".toml") or os.sep in path_or_name:
        return _load_file(Path(path_or_name))
    if path_or_name not in bundled_boards():
        raise _unknown(path_or_name)
    resource = files("edgeweave.targets") / "boards" / f"{path_or_name}.toml"
    return parse_board(resource.read_text(encoding="utf-8"), f"{path_or_name}.toml")


def _load_file(path: Path) -> Board:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TargetError(str(path), f"is not a text file in UTF-8: {error}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TargetError(
            str(path),
            f"cannot be read: {reason}",
            f"Give a .toml file, or one of {', '.join(('host', *bundled_boards()))}",
        ) from error
    return parse_board(text, str(path))


def _unknown(name: str) -> TargetError:
    names = ("host", *bundled_boards())
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return TargetError(
        f"board {name!r}",
        "is not known",
        f"{hint}Boards are {', '.join(names)}, or the path of a .toml file",
    )
