"""The exit statuses of the command line, and the one table from errors to them.

Status 2 is for what the command line alone shows to be wrong: an unknown option, a malformed value,
a path that does not exist; and for a cost table that cannot be read, or lacks what an option names.
What only shows when the model is read and compiled has status 6, an option that does not fit the
model included.
"""

from __future__ import annotations

import errno
from enum import IntEnum

from edgeweave.compiler.errors import BudgetMissedError, CompileError, VerificationError
from edgeweave.partition.errors import PartitionError, TableError
from edgeweave.runtime.errors import EdgeweaveError, RuntimeFault
from edgeweave.targets.devices.faults import DeviceError
from edgeweave.targets.errors import BuildError, TargetError


class ExitStatus(IntEnum):
    """What a command's exit status means."""

    OK = 0
    BUG = 1
    USAGE = 2
    TARGET = 3
    NO_PLAN = 4
    DEVICE = 5
    COMPILE = 6
    VERIFICATION = 7
    INTERRUPTED = 130
    # as a shell shows a program that SIGPIPE or SIGTERM ended
    BROKEN_PIPE = 141
    TERMINATED = 143


# The first family that an error belongs to counts.
_FAMILIES: tuple[tuple[type[EdgeweaveError], ExitStatus], ...] = (
    (BudgetMissedError, ExitStatus.NO_PLAN),
    (VerificationError, ExitStatus.VERIFICATION),
    (BuildError, ExitStatus.COMPILE),
    (TargetError, ExitStatus.TARGET),
    (TableError, ExitStatus.USAGE),
    (PartitionError, ExitStatus.NO_PLAN),
    (RuntimeFault, ExitStatus.DEVICE),
    (DeviceError, ExitStatus.DEVICE),
    (CompileError, ExitStatus.COMPILE),
)
# An operation that failed for lack of room is no bug, wherever it happened.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def exit_status(error: EdgeweaveError) -> ExitStatus:
    """The exit status of an error."""
    for family, status in _FAMILIES:
        if isinstance(error, family):
            return status
    return ExitStatus.BUG


def message(error: EdgeweaveError) -> str:
    """The error in words for a user: what, why, what to do next."""
    if isinstance(error, BudgetMissedError):
        # The result on stdout says all of it.
        return " ".join((f"{error.subject}: {error.reason}.", *error.shortfall[:1]))
    return str(error)


def no_room(error: OSError) -> str | None:
    """What to tell of a write that failed for lack of room; None for any other error."""
    if error.errno not in _NO_ROOM:
        return None
    where = error.filename or "an output"
    return f"{where}: cannot be written ({error.strerror}). Free some space, or set TMPDIR"
