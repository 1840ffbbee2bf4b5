"""The process in which Vela's compiler runs: ``python -m …vela_worker FD``, driven by vela_process.

It reads requests from the socket FD and answers them, one frame of JSON each; models are files.
A request is ``{architecture, system, options, source, target}``: the compiled model is written to
``target``, and the answer is ``{report}`` or ``{error}``. Bytes that are no model make the compiler
crash. Nothing heavy is imported, so that a start takes little.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def serve(connection: Connection) -> None:
    """Answer until the other end is closed."""
    from ethosu import regor

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this decides when it ends
    _write_at_once()
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        _end_with(connection, True)
        if connection.poll():  # it was closed meanwhile, for nothing else can have come
            return
        answer = json.dumps(_answer(regor, request)).encode()
        _end_with(connection, False)
        connection.send_bytes(answer)


def _answer(regor: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        compiled = regor.compile(
            request["architecture"],
            Path(request["source"]).read_bytes(),
            "TFLITE",
            request["system"],
            options=request["options"],
            verbose=False,
        )
    except Exception as error:  # noqa: BLE001 - whatever the compiler raises is its answer
        return {"error": str(error) or type(error).__name__}
    Path(request["target"]).write_bytes(compiled.model)
    return {"report": _report(compiled)}


def _report(compiled: Any) -> dict[str, Any]:
    """Cycles, operators, multiply-adds, and bytes per memory; plain numbers."""
    perf = compiled.perf_report
    return {
        "npu_cycles": perf.npuCycles,
        "total_cycles": perf.totalCycles,
        "npu_ops": perf.npuOps,
        "cpu_ops": perf.cpuOps,
        "cpu_operators": _cpu_operators(compiled.opt_database.tables),
        "macs": perf.macCount,
        "weight_bytes": perf.originalWeights,
        "encoded_weight_bytes": perf.encodedWeights,
        "memories": {name: _memory(perf.memories[name]) for name in sorted(perf.memories)},
    }


def _memory(memory: Any) -> dict[str, Any]:
    return {
        "peak_bytes": memory.peakUsage,
        "access_cycles": memory.totalAccessCycles,
        "accesses": {
            purpose: {"read_bytes": access.bytesRead, "written_bytes": access.bytesWritten}
            for purpose, access in sorted(memory.accesses.items())
        },
    }


def _cpu_operators(tables: Mapping[str, Any]) -> list[str]:
    """What was left to a CPU, as ``Quantize 'y'``: the operator and the tensor that it makes."""
    rows, sources = _rows(tables, "perf"), _rows(tables, "source")
    operators = {row["id"]: row["operator"] for row in sources}
    return [
        f"{operators.get(row['source_id'], 'operator')} {row['name']!r}"
        for row in rows
        if row["operator"] == "Passthrough"
    ]


def _rows(tables: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    table = tables.get(name)
    return [dict(zip(table.header, row, strict=True)) for row in table.data] if table else []


def _end_with(connection: Connection, wanted: bool) -> None:
    """Let the kernel end this process, inside of the compiler too, when the other end is closed.

    SIGIO, which comes with whatever happens on the socket, ends a process that does not handle it.
    """
    file = connection.fileno()
    fcntl.fcntl(file, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    asked = flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC
    fcntl.fcntl(file, fcntl.F_SETFL, asked)


def _write_at_once() -> None:
    """No buffer for C's stdout, where Vela gives its reasons: a crash would lose them."""
    libc = ctypes.CDLL(None)
    unbuffered = 2  # _IONBF of stdio.h
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, unbuffered, ctypes.c_size_t(0))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
