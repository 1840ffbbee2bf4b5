"""The device program's options, and why it does not start."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def the_line(said: str) -> str:
    (line,) = said.splitlines()
    assert isinstance(line, str)
    assert line.startswith("edgeweave-device: ")
    return line


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--speed", "3"], "'--speed' is no option"),
        (["--port"], "'--port' is no option, or lacks its value"),
        (["9090"], "'9090' is no option"),
        (["--port", "65536"], "--port takes a number from 0 to 65535, not '65536'"),
        (["--port", "-1"], "--port takes a number"),
        (["--port", "http"], "not 'http'"),
        (["--port", ""], "not ''"),
        (["--max-session", "0"], "--max-session takes a number from 1"),
        (["--upload-mib", "1e3"], "--upload-mib takes a number"),
        (["--store-mib", "99999999999999999999"], "--store-mib takes a number"),
        (["--tracker", "rack"], "--tracker takes HOST:PORT"),
        (["--tracker", ":9190"], "--tracker takes HOST:PORT"),
        (["--tracker", "rack:0"], "the port of --tracker takes a number"),
        (["--key", ""], "--key takes a word"),
        (["--key", "two words"], "--key takes a word"),
        (["--key", 'a"b'], "--key takes a word"),
        (["--name", "x" * 129], "--name takes a word"),
        (["--advertise", "a\nb"], "--advertise takes a word"),
        (["--secret-file", "/nowhere"], "--secret-file /nowhere cannot be read or is empty"),
        (["--secret-file", "/dev/null"], "cannot be read or is empty"),
    ],
)
def test_a_bad_option_is_named(run_program: Run, options: list[str], reason: str) -> None:
    done = run_program(*options)
    assert done.returncode == 2
    assert reason in the_line(done.stderr)
    assert "See edgeweave-device --help" in done.stderr
    assert done.stdout == ""


def test_help_lists_the_options(run_program: Run) -> None:
    done = run_program("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--listen", "--tracker", "--secret-file", "--max-session", "--store-mib"):
        assert option in done.stdout


def test_version_lists_what_the_kit_holds(run_program: Run, native_kit: Path) -> None:
    versions = json.loads((native_kit / "device.json").read_text())["versions"]
    done = run_program("--version")
    assert done.returncode == 0
    assert dict(line.split() for line in done.stdout.splitlines()) == versions


def test_a_taken_port(run_program: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_program("--port", str(port), "--state", str(tmp_path / "state"))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: Address already in use" in the_line(done.stderr)


def test_an_address_that_is_not_ours(run_program: Run, tmp_path: Path) -> None:
    done = run_program("--listen", "192.0.2.1", "--state", str(tmp_path / "state"))
    assert done.returncode == 1
    assert "192.0.2.1:9090: Cannot assign requested address" in the_line(done.stderr)


def test_missing_libraries(run_program: Run, tmp_path: Path) -> None:
    done = run_program("--lib-dir", str(tmp_path), "--state", str(tmp_path / "state"))
    assert done.returncode == 1
    assert f"{tmp_path}/libtvm_runtime.so: cannot open shared object" in the_line(done.stderr)


def test_a_damaged_device_json(run_program: Run, native_kit: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    shutil.copytree(native_kit, kit, symlinks=True)
    (kit / "device.json").chmod(0o644)
    (kit / "device.json").write_text('{"versions": [')
    done = run_program("--port", "0", "--state", str(tmp_path / "state"), kit=kit)
    assert done.returncode == 1
    assert "device.json is damaged" in the_line(done.stderr)


def test_a_state_folder_in_use(start: Callable[..., Any], run_program: Run) -> None:
    device = start()
    session = device.open()
    done = run_program("--port", "0", "--state", str(device.state))
    assert done.returncode == 1
    assert "is used by another edgeweave-device; give --state" in the_line(done.stderr)
    assert len(device.work_folders()) == 1  # of the session that runs
    session.close()


def test_a_state_folder_that_others_may_change(run_program: Run, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    done = run_program("--port", "0", "--state", str(folder))
    assert done.returncode == 1
    assert f"{folder} may be changed by others" in the_line(done.stderr)


def test_a_state_folder_that_is_a_link(run_program: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to("elsewhere")
    done = run_program("--port", "0", "--state", str(tmp_path / "state"))
    assert done.returncode == 1
    assert "may be changed by others" in the_line(done.stderr)


def test_a_state_folder_that_cannot_be_made(run_program: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_program("--port", "0", "--state", str(tmp_path / "file" / "state"))
    assert done.returncode == 1
    assert "cannot be made: Not a directory; give --state" in the_line(done.stderr)


def test_the_state_folder_is_ours_alone(device: Any) -> None:
    assert device.state.stat().st_mode & 0o777 == 0o700
    assert device.state.stat().st_uid == os.geteuid()


def test_default_state_folder(
    start: Callable[..., Any], run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg" / "edgeweave-device").mkdir(parents=True)
    (tmp_path / "xdg" / "edgeweave-device").chmod(0o777)
    done = run_program("--port", "0")
    assert f"{tmp_path}/xdg/edgeweave-device may be changed" in the_line(done.stderr)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".local" / "state").mkdir(parents=True)
    (tmp_path / "home" / ".local" / "state" / "edgeweave-device").touch()
    done = run_program("--port", "0")
    assert f"{tmp_path}/home/.local/state/edgeweave-device" in the_line(done.stderr)


def test_it_listens_on_ipv6_too(start: Callable[..., Any]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert start("--listen", "::1").hello()["name"] == "rack-01"
