"""Whether a bundle's stages can run on a device, found before anything is sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeweave.runtime.errors import RuntimeFault
from edgeweave.runtime.machine import triple_architecture
from edgeweave.targets.devices.faults import MissingFeatures, VersionMismatch, WrongArchitecture
from edgeweave.targets.devices.stages import KIND, open_request

if TYPE_CHECKING:
    from edgeweave.runtime.bundle import Bundle
    from edgeweave.runtime.manifest import Manifest
    from edgeweave.targets.devices.identity import Identity

# what wrote a stage's library must be what loads it
_EXACT = ("apache-tvm", "apache-tvm-ffi")


class NotForDevices(RuntimeFault):
    """A bundle holds a stage that no device runs."""


def check_bundle(bundle: Bundle) -> None:
    """NotForDevices unless every stage is one that a device runs; BundleError for unsound options.

    The message holds the command that makes such a bundle.
    """
    manifest = bundle.manifest
    others = [stage for stage in manifest.stages if stage.kind != KIND]
    if not others:
        open_request(manifest, check_features=True)
        return
    first = others[0]
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    backends = dict.fromkeys(stage.backend for stage in others)
    avoid = " ".join(f"--avoid '*=*/{backend}'" for backend in backends)
    raise NotForDevices(
        f"stage {first.name}",
        f"runs on {first.backend}{more}, and a device runs only stages that TVM compiled",
        f"Compile without it: edgeweave compile {manifest.model} --board {manifest.board} "
        f"{avoid} -o {bundle.path}",
    )


def check_device(manifest: Manifest, identity: Identity, *, check_features: bool) -> list[str]:
    """Notes on how the bundle fits the device; the fault that says why it cannot run there."""
    _check_architecture(manifest, identity)
    notes = list(_check_versions(manifest, identity))
    if check_features:
        notes += _check_features(manifest, identity)
    return notes


def _check_architecture(manifest: Manifest, identity: Identity) -> None:
    for stage in manifest.stages:
        triple = str(stage.options.get("triple", "an unknown machine"))
        if triple_architecture(triple) != identity.arch:
            raise WrongArchitecture(
                f"device {identity.name}",
                f"is {identity.arch}, and stage {stage.name} is built for {triple}",
                f"Compile for a board whose CPU is {identity.arch}, or name another device",
            )


def _check_versions(manifest: Manifest, identity: Identity) -> Iterator[str]:
    made, there = manifest.created_with, identity.versions
    for name in _EXACT:
        if made.get(name) != there.get(name):
            raise VersionMismatch(
                f"device {identity.name}",
                f"has {name} {there.get(name, 'of no known version')}, and the bundle was built "
                f"with {made.get(name, 'no known version')}",
                "Build the device's folder again with this edgeweave, or compile the model again",
            )
    if made.get("edgeweave") != there.get("edgeweave"):
        yield (
            f"the device runs edgeweave {there.get('edgeweave')}, and the bundle was built with "
            f"{made.get('edgeweave')}"
        )


def _check_features(manifest: Manifest, identity: Identity) -> Iterator[str]:
    for stage in manifest.stages:
        features = stage.options.get("features")
        if features is None:
            yield f"stage {stage.name} does not say which CPU features its code uses"
            continue
        missing = sorted(set(features) - set(identity.features))
        if missing:
            mcpu = stage.options.get("mcpu") or "another CPU"
            raise MissingFeatures(
                f"device {identity.name}",
                f"its CPU lacks {', '.join(missing)}, which stage {stage.name} for {mcpu} uses",
                "Compile for a board file whose mcpu and mattr are this device's",
            )
