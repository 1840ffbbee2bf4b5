"""Arm's Vela: the binary for an Ethos-U, and Vela's own estimate of the time it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeweave.targets.npu_ethos_u.accelerator import Accelerator
from edgeweave.targets.npu_ethos_u.errors import (
    CpuOperatorsError,
    SramTooSmallError,
    VelaMissingError,
)
from edgeweave.targets.npu_ethos_u.installed import missing, vela_version
from edgeweave.targets.npu_ethos_u.memo import Compiled, Memo, memo_key
from edgeweave.targets.npu_ethos_u.vela_process import VelaProcess

_MEMO_FORMAT = "1"  # of the report below; part of the key


class Vela:
    """Compiles TFLite models; what was compiled before comes from the memo."""

    def __init__(self, process: VelaProcess | None = None, memo: Memo | None = None) -> None:
        self._process = process or VelaProcess()
        self._memo = memo or Memo()

    def compile(
        self, blob: bytes, accelerator: Accelerator, subject: str, sram_bytes: int | None = None
    ) -> Compiled:
        """Compile a model that must run on the NPU as a whole.

        ``sram_bytes`` is the SRAM that the board has, where that is known. Raises BuildError about
        ``subject``: Vela is missing, fails, leaves operators to a CPU, or the SRAM is too small.
        """
        lacking = missing()
        if lacking:
            raise VelaMissingError(subject, lacking)
        version = vela_version()
        request = {
            "architecture": accelerator.architecture,
            "system": accelerator.system_text(),
            "options": _options(accelerator),
        }
        key = memo_key(blob, _MEMO_FORMAT, version, *request.values())
        found = self._memo.find(key)
        if found is None:
            answer = self._process.compile(blob, request, subject)
            report = {
                "tool": "vela",
                "version": version,
                **accelerator.settings(),
                "seconds": answer.report["total_cycles"] / accelerator.core_clock_hz,
                **answer.report,
                "said": answer.said,
            }
            found = Compiled(answer.model, report)
            self._memo.keep(key, found)
        _check_operators(found.report, subject)
        _check_sram(found.report, accelerator, sram_bytes, subject)
        return found

    def close(self) -> None:
        """End Vela's process; the next compile starts another."""
        self._process.close()


def _options(accelerator: Accelerator) -> str:
    """What Vela's command line passes by default, and the tables that name operators.

    Without ``arena_size_limit`` the compiler plans otherwise, and its cycles differ by a third.
    """
    return (
        "\n[compiler]\nenable_db=true\noutput_format=TFLite\ncop_format=COP1\n"
        "\n[scheduler]\noptimize=Performance\n"
        f"arena_size_limit={accelerator.arena_limit_bytes}\n"
        "disable_feature=\ncpu_tensor_alignment=16\ntensor_allocator=HillClimb\n"
        "\n[graph]\nsoftmax_int16_neg_exp_range=10.0\n"
    )


def _check_operators(report: Mapping[str, Any], subject: str) -> None:
    if report["cpu_ops"]:
        named = tuple(report["cpu_operators"])
        unnamed = ("operator",) * (report["cpu_ops"] - len(named))
        raise CpuOperatorsError(subject, named + unnamed, report["said"])


def _check_sram(
    report: Mapping[str, Any], accelerator: Accelerator, sram_bytes: int | None, subject: str
) -> None:
    """Vela's limit is a wish: where the feature maps do not fit it plans more, and says nothing."""
    peak = report["memories"].get("Sram", {}).get("peak_bytes", 0)
    limits = {"the arena of its settings": accelerator.arena_limit_bytes}
    if sram_bytes is not None:
        limits["the engine's memory_mib"] = sram_bytes
    which, limit = min(limits.items(), key=lambda item: item[1])
    if peak > limit:
        raise SramTooSmallError(
            subject,
            f"it needs {_kib(peak)} of SRAM at one time, and {which} is {_kib(limit)} "
            f"(memory mode {accelerator.memory_mode})",
            "Name the SRAM there is as arena_cache_kib in the engine's vendor settings, choose "
            "another memory_mode, or allow more stages",
        )


def _kib(size: int) -> str:
    return f"{size / 1024:,.0f} KiB"
