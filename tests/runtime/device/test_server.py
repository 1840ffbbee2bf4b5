"""The device program's greetings: who is answered, who is not; nobody waits for another."""

from __future__ import annotations

import hashlib
import hmac
import platform
import re
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

MAGIC, BUSY, UNKNOWN = 0xFF271, 0xFF272, 0xFF273


def test_hello_says_who_the_device_is(device: Any) -> None:
    described = device.hello()
    assert described["protocol"] == 1
    assert described["name"] == "rack-01"
    assert described["key"] == "device"
    assert described["arch"] == platform.machine()
    assert described["emulated"] == ""
    assert described["runners"] == ["tvm"]
    assert described["limits"] == {"session_s": 3600, "upload_mib": 512, "store_mib": 2048}
    assert set(described["versions"]) == {"edgeweave", "apache-tvm", "apache-tvm-ffi"}
    assert described["features"] == sorted(described["features"])
    memory_mib = psutil.virtual_memory().total / 2**20
    assert described["memory_mib"] == pytest.approx(memory_mib, rel=0.01)
    assert 0 < described["free_mib"] <= psutil.disk_usage(str(device.state)).total >> 20
    assert [cpu["core"] for cpu in described["cpus"]] == list(range(len(described["cpus"])))
    assert (described["busy"], described["ended"]) == (None, [])


def test_hello_names_no_machine_id(device: Any) -> None:
    machine = Path("/etc/machine-id")
    if not machine.is_file() or not machine.read_text().strip():
        pytest.skip("this machine has no machine-id")
    first = device.hello()["serial"]
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    assert first == device.hello()["serial"]
    assert first != machine.read_text().strip()


def test_each_hello_has_a_key_of_its_own(device: Any) -> None:
    first, second = device.hello()["match"], device.hello()["match"]
    assert first != second
    assert first.startswith("device:")


def test_a_key_opens_one_session(device: Any) -> None:
    match = device.hello()["match"]
    device.open(match=match).close()
    assert device.last_end()["match"] == match
    assert device.greet(f"client:{match}")[1] == UNKNOWN


def test_only_the_last_eight_keys_are_remembered(device: Any) -> None:
    keys = [device.hello()["match"] for _ in range(9)]
    assert device.greet(f"client:{keys[0]}")[1] == UNKNOWN
    # open() asks for two more; this is then the oldest of the last eight
    assert device.greet(f"client:{keys[1]}")[1] == MAGIC


@pytest.mark.slow
def test_a_key_expires(device: Any) -> None:
    match = device.hello()["match"]
    time.sleep(15.5)
    assert device.greet(f"client:{match}")[1] == UNKNOWN


@pytest.mark.parametrize("match", ["", "device", "device:0", "device:0 -timeout=3"])
def test_an_unknown_key_is_refused(device: Any, match: str) -> None:
    assert device.greet(f"client:{match}")[1] == UNKNOWN
    assert device.hello()["ended"] == []


@pytest.mark.parametrize("words", ["edgeweave", "server:device", "hello", "\0" * 1024])
def test_other_words_are_hung_up_on(device: Any, words: str) -> None:
    assert device.greet(words)[1] is None
    device.hello()


@pytest.mark.parametrize(
    "said",
    [
        struct.pack("<ii", MAGIC + 7, 5) + b"hello",
        struct.pack("<ii", MAGIC, 1025) + b"x" * 1025,
        struct.pack("<ii", MAGIC, 0x7FFFFFFF),
        struct.pack("<ii", MAGIC, -1) + b"x",
        struct.pack("<ii", MAGIC, 0),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["magic", "long", "huge", "negative", "empty", "http"],
)
def test_no_greeting_is_hung_up_on(device: Any, said: bytes) -> None:
    link = device.dial()
    link.settimeout(4)  # less than the time that an unfinished greeting has
    link.sendall(said)
    assert read_to_end(link) == b""
    device.hello()


def test_a_greeting_may_come_in_pieces(device: Any) -> None:
    words = b"edgeweave:hello"
    link = device.dial()
    for byte in struct.pack("<ii", MAGIC, len(words)) + words:
        link.sendall(bytes([byte]))
        time.sleep(0.01)
    assert struct.unpack("<i", link.recv(4))[0] == MAGIC


def test_slow_clients_do_not_hold_up_others(device: Any) -> None:
    waiting = [device.dial() for _ in range(100)]
    for link in waiting[::2]:
        link.sendall(struct.pack("<ii", MAGIC, 100) + b"client:")
    device.open().close()
    assert device.last_end()["end"] == "closed"


@pytest.mark.slow
def test_an_unfinished_greeting_is_hung_up_on_even_while_a_session_runs(device: Any) -> None:
    link = device.dial()
    link.sendall(struct.pack("<i", MAGIC))
    session = device.open()  # its process must not keep our connection
    assert read_to_end(link) == b""
    assert device.hello()["busy"] is not None
    session.close()


def test_a_client_that_hangs_up_early_does_no_harm(device: Any) -> None:
    for said in (b"", b"\x71", struct.pack("<ii", MAGIC, 15) + b"edgeweave:hello"):
        for _ in range(20):
            link = device.dial()
            link.sendall(said)
            link.close()
    device.hello()


def test_one_session_at_a_time(device: Any) -> None:
    session = device.open(" -timeout=100")
    described = device.hello()
    assert described["busy"]["peer"] == "127.0.0.1"
    assert 0 <= described["busy"]["since_s"] < 60
    assert 0 < described["busy"]["left_s"] <= 100
    assert device.greet(f"client:{described['match']}")[1] == BUSY
    session.close()
    device.last_end()
    # being told that it was busy has not spent the key
    assert device.greet(f"client:{described['match']}")[1] == MAGIC


def test_a_session_is_limited_by_the_device(start: Callable[..., Any]) -> None:
    device = start("--max-session", "50")
    device.open(" -timeout=1000")
    assert device.hello()["busy"]["left_s"] <= 50


@pytest.mark.parametrize("secret", [b"a", b"\xff\x00 two words", b"k" * 64, b"k" * 65, b"k" * 1000])
def test_a_secret_is_proven(start: Callable[..., Any], tmp_path: Path, secret: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(secret + b"\n")
    device = start("--secret-file", str(file))
    match = device.hello()["match"]
    proof = hmac.new(secret, match.encode(), hashlib.sha256).hexdigest()
    wrong = hmac.new(b"guess", match.encode(), hashlib.sha256).hexdigest()
    assert device.greet(f"client:{match}")[1] == UNKNOWN
    assert device.greet(f"client:{match} -auth={wrong}")[1] == UNKNOWN
    assert device.greet(f"client:{match} -auth=")[1] == UNKNOWN
    # the proof for one key is none for another
    assert device.greet(f"client:{device.hello()['match']} -auth={proof}")[1] == UNKNOWN
    # a wrong proof has not spent the key
    assert device.greet(f"client:{match} -timeout=60 -auth={proof}")[1] == MAGIC


def test_a_proof_is_not_needed_without_a_secret(device: Any) -> None:
    device.open(" -auth=00")


def test_a_device_that_anyone_reaches_warns(start: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("secret")
    assert "anyone who reaches port" in start("--listen", "0.0.0.0").program.said()
    guarded = start("--listen", "0.0.0.0", "--secret-file", str(file), state="guarded")
    assert "anyone" not in guarded.program.said()
    assert "anyone" not in start(state="local").program.said()


def test_hundreds_of_sessions_leave_nothing(device: Any) -> None:
    process = psutil.Process(device.program.process.pid)
    device.open().close()
    device.last_end()
    before = process.num_fds(), process.num_threads()
    for count in range(200):
        device.open().close()
        device.last_end()
        if count % 50 == 0:
            device.greet("client:nobody")
    assert (process.num_fds(), process.num_threads()) == before
    assert process.children(recursive=True) == []
    assert device.work_folders() == []
    assert len(device.hello()["ended"]) == 16


def read_to_end(link: socket.socket) -> bytes:
    try:
        return link.recv(1)
    except ConnectionResetError:
        return b""
