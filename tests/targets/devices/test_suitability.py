"""Whether a bundle can run on a device: each reason against it is told before anything is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeweave.runtime.bundle import open_bundle
from edgeweave.targets.devices.faults import MissingFeatures, VersionMismatch, WrongArchitecture
from edgeweave.targets.devices.identity import Identity, Limits
from edgeweave.targets.devices.suitability import NotForDevices, check_bundle, check_device


@pytest.fixture
def bundle(device_bundle):
    with open_bundle(device_bundle) as opened:
        yield opened


def make_identity(arch, versions, features=()):
    return Identity(
        "rack-01", "k", arch, (), tuple(features), 1000, "", "", dict(versions), ("tvm",),
        Limits(3600, 512, 2048), 900, None, None, (), "m",
    )  # fmt: skip


def changed(manifest, **changes):
    """The manifest with these changes to every stage; options are added to those there are."""
    options = changes.pop("options", {})
    stages = (replace(s, **changes, options={**s.options, **options}) for s in manifest.stages)
    return replace(manifest, stages=tuple(stages))


def test_a_bundle_of_compiled_stages_can_go_to_devices(bundle):
    check_bundle(bundle)


def test_a_stage_of_another_backend_is_refused_with_the_command_that_avoids_it(bundle):
    bundle.manifest = changed(bundle.manifest, kind="onnxruntime", backend="onnxruntime")
    with pytest.raises(NotForDevices) as caught:
        check_bundle(bundle)
    assert str(caught.value) == (
        "stage s0-a-cpu: runs on onnxruntime (and 1 more), and a device runs only stages that TVM "
        "compiled. Compile without it: edgeweave compile small.onnx --board own "
        f"--avoid '*=*/onnxruntime' -o {bundle.path}"
    )


@pytest.mark.parametrize(
    ("triple", "arch"),
    [
        ("aarch64-linux-gnu", "aarch64"),
        ("arm64-linux-gnu", "aarch64"),
        ("armv7a-linux-gnueabihf", "arm"),
        ("riscv64-linux-gnu", "riscv64"),
        ("x86_64-linux-gnu", "x86_64"),
    ],
)
def test_the_architecture_is_known_by_all_of_its_names(bundle, triple, arch):
    manifest = changed(bundle.manifest, options={"triple": triple, "features": []})
    device = make_identity(arch, manifest.created_with)
    assert check_device(manifest, device, check_features=True) == []
    other = make_identity("mips", manifest.created_with)
    with pytest.raises(WrongArchitecture, match=f"is mips, and stage s0-a-cpu .* for {triple}"):
        check_device(manifest, other, check_features=True)


def test_code_for_aarch64_is_not_for_arm(bundle):
    manifest = changed(bundle.manifest, options={"triple": "aarch64-linux-gnu"})
    with pytest.raises(WrongArchitecture):
        check_device(manifest, make_identity("arm", manifest.created_with), check_features=True)


@pytest.mark.parametrize("name", ["apache-tvm", "apache-tvm-ffi"])
def test_another_tvm_is_refused(bundle, name):
    manifest = changed(bundle.manifest, options={"triple": "aarch64-linux-gnu", "features": []})
    versions = {**manifest.created_with, name: "0.1"}
    with pytest.raises(VersionMismatch, match=f"has {name} 0.1, and the bundle was built with"):
        check_device(manifest, make_identity("aarch64", versions), check_features=True)


def test_another_edgeweave_is_only_a_note(bundle):
    manifest = changed(bundle.manifest, options={"triple": "aarch64-linux-gnu", "features": []})
    versions = {**manifest.created_with, "edgeweave": "9"}
    (note,) = check_device(manifest, make_identity("aarch64", versions), check_features=True)
    assert "edgeweave 9" in note


def test_features_that_are_missing_are_named_with_the_stage(bundle):
    manifest = changed(
        bundle.manifest,
        options={"triple": "aarch64-linux-gnu", "mcpu": "cortex-a76",
                 "features": ["neon", "fullfp16", "dotprod"]},
    )  # fmt: skip
    device = make_identity("aarch64", manifest.created_with, ["neon"])
    with pytest.raises(MissingFeatures) as caught:
        check_device(manifest, device, check_features=True)
    told = "its CPU lacks dotprod, fullfp16, which stage s0-a-cpu for cortex-a76 uses"
    assert told in str(caught.value)
    assert check_device(manifest, device, check_features=False) == []
    whole = make_identity("aarch64", manifest.created_with, ["neon", "fullfp16", "dotprod"])
    assert check_device(manifest, whole, check_features=True) == []


def test_a_stage_that_does_not_say_what_it_uses_is_noted(bundle):
    options = {k: v for k, v in bundle.manifest.stages[0].options.items() if k != "features"}
    manifest = bundle.manifest
    stages = tuple(
        replace(s, options={**options, "triple": "aarch64-linux-gnu"}) for s in manifest.stages
    )
    manifest = replace(manifest, stages=stages)
    device = make_identity("aarch64", manifest.created_with)
    notes = check_device(manifest, device, check_features=True)
    assert [note for note in notes if "s0-a-cpu" in note]
