"""``edgeweave deploy``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.deploy_options import Task, device_options, task_options
from edgeweave.compiler.cli.reach import Reach, find_place
from edgeweave.compiler.cli.settings import Settings, settings_of, verb

if TYPE_CHECKING:
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.devices.deploy import DeviceResult
    from edgeweave.compiler.devices.run import Work
    from edgeweave.runtime.bundle import Bundle
    from edgeweave.targets.devices.pool import Place

_PAUSE_S = 5.0  # between two lines about one device that is still at the same


@verb("deploy", "Run a bundle on devices, over RPC.")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@device_options
@task_options
@click.pass_context
def command(context: click.Context, bundle: Path, reach: Reach, task: Task, as_json: bool) -> None:
    """Send BUNDLE to a device and run it there; with --key, to all free devices of a tracker.

    Only what a device does not have yet is sent. Times are taken by the device, frame by frame,
    and are called measured, or emulated where its CPU is. Exits with 5 when a device failed, after
    the others have run, and with 7 when an output differs by more than the tolerance.
    """
    place = find_place(reach)
    from edgeweave.compiler.cli.frames import read_frame

    given = read_frame(task.inputs) if task.inputs else None
    from edgeweave.runtime.bundle import open_bundle

    settings = settings_of(context)
    with open_bundle(bundle) as opened:
        work = _work(settings, opened, reach.timeout, task, given)
        results = _deploy(settings, work, place, task)
        if len(results) == 1 and results[0].identity is None and results[0].fault is not None:
            raise results[0].fault  # there is nothing to show
        data = _data(work, place, task, results)
    _print(data, as_json)
    if task.outputs is not None:
        _write_outputs(task.outputs, results)
    _judge(bundle, results)


def _work(
    settings: Settings, bundle: Bundle, timeout_s: float, task: Task, given: dict[str, Any] | None
) -> Work:
    """What every device has to do; raises for a bundle or frames that no device takes."""
    from edgeweave.compiler.cli.frames import random_frames
    from edgeweave.compiler.cli.streams import note
    from edgeweave.compiler.devices.deploy import check_deployable
    from edgeweave.compiler.devices.run import Work
    from edgeweave.runtime.input_check import check_inputs

    check_deployable(bundle, verify=task.verify)
    count, warmup = task.counts
    inputs = bundle.manifest.inputs
    frames = random_frames(inputs, count, task.seed) if given is None else [given]
    for frame in frames:
        for name in _not_finite(check_inputs(inputs, frame)):
            note(settings, f"input {name!r} holds values that are not finite")
    wanted = len(frames) if task.verify else int(task.outputs is not None)
    check = not task.skip_feature_check
    return Work(bundle, tuple(frames), count, warmup, wanted, timeout_s, check)


def _not_finite(frame: Mapping[str, Any]) -> list[str]:
    import numpy as np

    kinds = "fc"  # the others have no such values
    return [n for n, v in frame.items() if v.dtype.kind in kinds and not np.isfinite(v).all()]


def _deploy(settings: Settings, work: Work, place: Place, task: Task) -> tuple[DeviceResult, ...]:
    from edgeweave.compiler.cli.narrate import Narrator
    from edgeweave.compiler.cli.streams import note
    from edgeweave.compiler.devices.deploy import deploy
    from edgeweave.runtime.compare import Tolerance

    tolerance = Tolerance(task.atol, task.rtol) if task.verify else None
    with Narrator(settings) as narrator:
        return deploy(work, place, tolerance, Teller(narrator), lambda text: note(settings, text))


class Teller:
    """Narrates several devices at once: a line where one goes on to something else, or late."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._lock = threading.Lock()
        self._told: dict[str, tuple[str, float]] = {}

    def __call__(self, device: str, phase: str, done: int, total: int, what: str) -> None:
        """Tell that ``done`` of ``total`` steps are done on a device, from any thread."""
        with self._lock:
            before, told_at = self._told.get(device, ("", 0.0))
            now = time.monotonic()
            if phase != before or now - told_at > _PAUSE_S or len(self._told) == 1:
                self._told[device] = (phase, now)
                self._narrator(phase, done, total, f"{device}: {what}" if device else what)


def _data(work: Work, place: Place, task: Task, results: Sequence[DeviceResult]) -> dict[str, Any]:
    from edgeweave.compiler.cli.deploy_data import deployment_data

    random = {"random": not task.inputs, "distinct": len(work.frames), "seed": task.seed}
    return deployment_data(work, place, results) | {"inputs": random, "bench": task.bench}


def _print(data: dict[str, Any], as_json: bool) -> None:
    from edgeweave.compiler.cli.deploy_data import finite
    from edgeweave.compiler.cli.show_deploy import show_deploy

    if as_json:
        click.echo(json.dumps(finite(data), indent=1, allow_nan=False))
        return
    for line in show_deploy(data):
        click.echo(line)


def _write_outputs(path: Path, results: Sequence[DeviceResult]) -> None:
    """The outputs of the first device that ran; none has when all failed."""
    from edgeweave.compiler.cli.frames import write_outputs

    ran = next((result.ran for result in results if result.ran is not None), None)
    if ran is not None:
        write_outputs(path, dict(ran.outputs[0]))


def _judge(bundle: Path, results: Sequence[DeviceResult]) -> None:
    """Raise for outputs that differ; where none does, for devices that failed."""
    from edgeweave.compiler.devices.deploy import DevicesFailed
    from edgeweave.compiler.errors import VerificationError

    differing = [result for result in results if result.result == "differs"]
    if differing:
        raise VerificationError(
            str(bundle),
            "; ".join(map(_difference, differing)),
            "Report it with the model, or allow more with --atol and --rtol",
        )
    faults = [result.fault for result in results if result.fault is not None]
    if len(faults) == 1 == len(results):
        raise faults[0]
    if faults:
        raise DevicesFailed(
            f"{len(faults)} of {len(results)} devices",
            f"failed ({'; '.join(f'{fault.subject}: {fault.reason}' for fault in faults)})",
            "The result above holds those that did not",
        )


def _difference(result: DeviceResult) -> str:
    outputs = () if result.verification is None else result.verification.outputs
    told = "; ".join(f"{o.name!r}: {o.mismatch}" for o in outputs if not o.passed)
    wrong = sum(not output.passed for output in outputs)
    return f"{wrong} of {len(outputs)} outputs of {result.name} differ from ONNX Runtime's: {told}"
