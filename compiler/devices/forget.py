"""Forget what was measured of a board, so that plans use its file again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeweave.compiler.verdicts import forget_verdicts, read_verdicts, verdict_path
from edgeweave.partition.prediction.measurements import MeasurementStore
from edgeweave.targets.board import Board


def forget_board(board: Board, folder: Path | None) -> Mapping[str, int]:
    """Take back all that the store in a folder holds of the board; how much that was, by kind.

    Of this machine that is what was measured, and every verdict it gave.
    """
    if folder is None:
        return {}
    store = MeasurementStore(folder)
    held = store.read()
    verdicts, _ = read_verdicts(verdict_path(folder), [])
    owner = "" if board.is_host else board.identity
    counts = {
        "times": sum(m.key.board == board.identity for m in held.measurements),
        "links": sum(link.board == board.identity for link in held.links),
        "calibrations": sum(c.board == board.identity for c in held.calibrations),
        "verdicts": sum(record.board == owner for record in verdicts),
        "devices": sum(device.board == board.identity for device in held.devices),
    }
    store.forget(board)
    forget_verdicts(verdict_path(folder), owner)
    return counts
