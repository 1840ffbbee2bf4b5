"""A deployment as JSON data; durations are in seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeweave.compiler.devices.deploy import DeviceResult
    from edgeweave.compiler.devices.run import Work
    from edgeweave.runtime.verify import Verification
    from edgeweave.targets.devices.faults import DeviceError
    from edgeweave.targets.devices.identity import Identity
    from edgeweave.targets.devices.pool import Place
    from edgeweave.targets.devices.upload import Upload


def deployment_data(work: Work, place: Place, results: Sequence[DeviceResult]) -> dict[str, Any]:
    """Everything about a deployment."""
    manifest = work.bundle.manifest
    tracker = {"address": str(place.address), "key": place.key} if place.key else None
    return {
        "bundle": str(work.bundle.path),
        "model": manifest.model,
        "board": manifest.board,
        "budget_s": manifest.budget_s,
        "predicted": {"latency_s": manifest.predicted_latency_s},
        "stages": [
            {"name": s.name, "engine": s.engine, "backend": s.backend, "predicted_s": s.predicted_s}
            for s in manifest.stages
        ],
        "tracker": tracker,
        # stages ran one after another, so there is no time between frames that leave a full pipe
        "interval_s": None,
        "devices": [_device(result, manifest.predicted_latency_s) for result in results],
    }


def _device(result: DeviceResult, predicted_s: float) -> dict[str, Any]:
    bench, ran, upload = result.bench, result.ran, result.upload
    ratio = bench.latency.p50_s / predicted_s if bench and predicted_s > 0 else None
    return {
        "name": result.name,
        "address": str(result.address),
        "result": result.result,
        "word": result.word,
        "identity": None if result.identity is None else _identity(result.identity),
        "upload": None if upload is None else _upload(upload),
        "notes": list(result.notes),
        "retried": list(result.retried),
        "before": None if ran is None else asdict(ran.before),
        "after": None if ran is None else asdict(ran.after),
        "measurement": None if bench is None else asdict(bench),
        "ratio": ratio,
        "verification": verification_data(result.verification),
        "fault": fault_data(result.fault),
    }


def _upload(upload: Upload) -> dict[str, int]:
    return {
        "files": upload.files,
        "bytes": upload.nbytes,
        "present_files": upload.present_files,
        "sent_files": upload.sent_files,
        "sent_bytes": upload.sent_bytes,
    }


# of the moment, or for one session only
_PASSING = ("match", "busy", "ended", "free_mib", "temperature_c")


def _identity(identity: Identity) -> dict[str, Any]:
    """Who the device is."""
    return {key: value for key, value in asdict(identity).items() if key not in _PASSING}


def verification_data(found: Verification | None) -> dict[str, Any] | None:
    """How far the outputs are from ONNX Runtime's."""
    if found is None:
        return None
    outputs = [asdict(output) | {"passed": output.passed} for output in found.outputs]
    return asdict(found) | {"outputs": outputs, "passed": found.passed}


def fault_data(fault: DeviceError | None) -> dict[str, Any] | None:
    """A fault by its kind, in its parts and as one message."""
    if fault is None:
        return None
    return {
        "kind": fault.kind,
        "subject": fault.subject,
        "reason": fault.reason,
        "next_step": fault.next_step,
        "message": str(fault),
    }


def finite(value: Any) -> Any:
    """The data with null for what is not finite, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
