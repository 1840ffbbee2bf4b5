"""Where the secret comes from, and the proof of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeweave.targets.devices.faults import SecretRefused
from edgeweave.targets.devices.secret import proof, read_secret


def test_the_file_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b" from the file \r\n")
    monkeypatch.setenv("EDGEWEAVE_DEVICE_SECRET", "from the environment\n")
    assert read_secret(path) == b" from the file "
    assert read_secret(None) == b"from the environment"


@pytest.mark.parametrize("value", ["", "\n"])
def test_none_is_given(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWEAVE_DEVICE_SECRET", value)
    assert read_secret(None) is None
    monkeypatch.delenv("EDGEWEAVE_DEVICE_SECRET")
    assert read_secret(None) is None


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\n", "is empty"), (b"x" * 65537, "is longer than 65536 bytes")]
)
def test_a_file_without_a_secret(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SecretRefused) as caught:
        read_secret(path)
    assert (caught.value.subject, caught.value.reason) == (f"secret file {path}", reason)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SecretRefused, match="cannot be read"):
        read_secret(tmp_path)


def test_the_proof_is_hmac_sha256() -> None:
    # RFC 4231, test case 2
    assert proof(b"Jefe", "what do ya want for nothing?") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
