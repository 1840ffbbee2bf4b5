"""Who stands in for stages that cannot run here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.machine import machine_architecture, run_word
from edgeweave.runtime.manifest import FORMAT_VERSION, Manifest, StageEntry
from edgeweave.runtime.spec import ValueSpec
from edgeweave.runtime.stand_in import with_stand_ins

FOREIGN = "riscv64-linux-gnu" if machine_architecture() != "riscv64" else "aarch64-linux-gnu"


def stage(name: str, kind: str, host_run: str | None, **options: object) -> StageEntry:
    value = ValueSpec(name, "tensor(float)", (1,))
    return StageEntry(
        name, "cpu0", kind, (0, 1), kind, f"stages/{name}", ("f",), (value,), (value,), options,
        0.001, host_run,
    )  # fmt: skip


def manifest(*stages: StageEntry) -> Manifest:
    return Manifest(FORMAT_VERSION, "m", "", "b", "", (), (), stages, (), 0.0, 0.0, None, None, {})


NPU = stage("npu", "litert", "reference")
ARM = stage("cpu", "tvm", None, triple=FOREIGN)


def test_onnx_runtime_stands_in_beside_a_reference() -> None:
    done, notes = with_stand_ins(manifest(NPU, ARM))
    kept, standing = done.stages
    assert kept == NPU
    assert (standing.kind, standing.host_run, standing.cores) == ("onnxruntime", "reference", ())
    assert run_word(done.stages) == "reference"
    (note,) = notes
    assert "stage cpu" in note
    assert FOREIGN in note
    assert "ONNX Runtime stands in for it" in note


def test_a_stage_that_runs_here_stays_as_it_is() -> None:
    own = stage("cpu", "onnxruntime", "measured")
    assert with_stand_ins(manifest(NPU, own)) == (manifest(NPU, own), ())


def test_nothing_stands_in_for_a_bundle_that_belongs_on_its_board() -> None:
    done, notes = with_stand_ins(manifest(ARM))
    assert (done, notes) == (manifest(ARM), ())
    with pytest.raises(RuntimeFault, match=FOREIGN):
        run_word(done.stages)


def test_an_unfinished_stage_is_told_with_its_step() -> None:
    stage_ = stage("npu", "handoff", "reference", step="python convert.py", done=False)
    done, (note,) = with_stand_ins(manifest(stage_))
    assert done.stages == (stage_,)
    assert "not built yet" in note
    assert note.endswith("run python convert.py")
    assert with_stand_ins(manifest(replace(stage_, kind="onnxruntime")))[1] == ()
