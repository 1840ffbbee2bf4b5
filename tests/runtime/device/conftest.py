"""Device programs that are started for a test, and plain clients of them."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.session import Options, Session, open_session
from edgeweave.targets.kit.architectures import host_architecture
from edgeweave.targets.kit.launch import RunningDevice, native_launch, running
from edgeweave.targets.kit.zig import PROGRAM_NAME

MAGIC, BUSY, UNKNOWN = 0xFF271, 0xFF272, 0xFF273
PATIENCE_S = 60.0  # on a busy machine
CALL_S = 120.0


class Device:
    """A device program, and what a client that knows only the protocol can see of it."""

    def __init__(self, program: RunningDevice, state: Path, stack: ExitStack) -> None:
        self.program = program
        self.state = state
        self.port = program.port
        self._stack = stack

    def dial(self) -> socket.socket:
        """A connection that has said nothing yet; closed after the test."""
        link = socket.create_connection((self.program.host, self.port), PATIENCE_S)
        return self._stack.enter_context(closing(link))

    def greet(self, words: str) -> tuple[socket.socket, int | None]:
        """Say who we are; the connection and the number of the answer, None when it hung up."""
        link = self.dial()
        said = words.encode()
        link.sendall(struct.pack("<ii", MAGIC, len(said)) + said)
        answer = received(link, 4)
        return link, struct.unpack("<i", answer)[0] if len(answer) == 4 else None

    def hello(self) -> dict[str, Any]:
        """What the device says of itself."""
        link, answer = self.greet("edgeweave:hello")
        assert answer == MAGIC
        size = struct.unpack("<i", received(link, 4))[0]
        reply = received(link, size)
        assert received(link, 1) == b"", "the device goes on after its reply"
        assert len(reply) == size
        described = json.loads(reply)
        assert isinstance(described, dict)
        return described

    def open(self, options: str = "", match: str | None = None) -> socket.socket:
        """A session that nothing is asked of; it lasts until its connection is closed."""
        link, answer = self.greet(f"client:{match or self.hello()['match']}{options}")
        assert answer == MAGIC
        size = struct.unpack("<i", received(link, 4))[0]
        assert received(link, size) == f"server:{self.hello()['key']}".encode()
        return link

    def tvm_session(self, timeout_s: int = 0) -> Any:
        """A session of TVM's own client; what it waits for ends with the device."""
        from tvm import rpc

        end = threading.Timer(PATIENCE_S, self.program.process.kill)
        self._stack.callback(end.join)
        self._stack.callback(end.cancel)
        end.start()
        match = self.hello()["match"]
        session = rpc.connect(self.program.host, self.port, match, session_timeout=timeout_s)
        self._stack.callback(self.close, session)
        return session

    @staticmethod
    def close(session: Any) -> None:
        """End a session of TVM's client, which otherwise lasts until nothing refers to it."""
        with suppress(Exception):  # it may have ended before
            session._sess.get_function("CloseRPCConnection")()

    def session_process(self) -> psutil.Process:
        """The process of the session that runs."""
        (session,) = psutil.Process(self.program.process.pid).children()
        return session

    def last_end(self) -> dict[str, Any]:
        """How the last session ended; waits until none runs and one has ended."""
        end = self.until(self._last_end, "the session to end")
        assert isinstance(end, dict)
        return end

    def _last_end(self) -> dict[str, Any] | None:
        described = self.hello()
        ended = described["ended"]
        return ended[-1] if ended and described["busy"] is None else None

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """What ``look`` returns once that is true."""
        give_up = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert time.monotonic() < give_up, f"waited in vain for {what}: {self.program.said()}"
            time.sleep(0.02)
        return found

    def work_folders(self) -> list[Path]:
        """What is in the folder of the sessions' work folders."""
        return sorted((self.state / "work").iterdir())


class Client:
    """A session of our own client, and its calls of the device's functions."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def ask(self, name: str, *arguments: Any) -> Any:
        """The reply: JSON as a dictionary, or bytes."""
        arguments = tuple(json.dumps(a) if isinstance(a, dict) else a for a in arguments)
        reply = self.session.call(f"edgeweave.device.{name}", *arguments, limit_s=CALL_S)
        return json.loads(reply) if isinstance(reply, str) else reply

    def refusal(self, kind: str, name: str, *arguments: Any) -> str:
        """The reason that the device gives, in one line, for an error of this kind."""
        reply = self.ask(name, *arguments)
        assert reply["error"]["kind"] == kind, reply
        reason = reply["error"]["reason"]
        assert isinstance(reason, str)
        assert "\n" not in reason
        return reason

    def send(self, content: bytes) -> str:
        """Put the content into the device's store; its digest."""
        digest = hashlib.sha256(content).hexdigest()
        file = {"sha256": digest, "size": len(content)}
        if self.ask("missing", {"files": [file]})["missing"]:
            assert self.ask("put", {**file, "offset": 0}, content) == {"have": len(content)}
        return digest


def received(link: socket.socket, size: int) -> bytes:
    """``size`` bytes, or what comes before the other side closes or resets the connection."""
    data = b""
    while len(data) < size:
        try:
            chunk = link.recv(size - len(data))
        except ConnectionResetError:
            break
        if not chunk:
            break
        data += chunk
    return data


@pytest.fixture
def start(native_kit: Path, tmp_path: Path) -> Iterator[Callable[..., Device]]:
    """Start a device program: ``start("--key", "rack", state="b")``; it ends with the test."""
    with ExitStack() as stack:

        def one(*options: str, state: str = "state") -> Device:
            folder = tmp_path / state
            chosen = ["--port", "0", "--name", "rack-01", "--state", str(folder), *options]
            launch = native_launch(native_kit, chosen)
            program = stack.enter_context(running(launch, tmp_path / f"{state}.log"))
            return Device(program, folder, stack)

        yield one


@pytest.fixture
def device(start: Callable[..., Device]) -> Device:
    """A device program with default options."""
    return start()


@pytest.fixture
def run_program(native_kit: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program until it ends by itself; for what makes it end at once."""

    def run(*options: str, kit: Path = native_kit) -> subprocess.CompletedProcess[str]:
        command = [str(kit / "bin" / PROGRAM_NAME), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    return run


@pytest.fixture(scope="session")
def faults(kept_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of faults.c for this machine."""
    import tvm_ffi

    zig_cache = kept_cache / "device" / "zig"
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(
        [
            *(sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", "-o", str(library)),
            *("-target", host_architecture().zig_target, "-fno-sanitize=all"),
            *("-I", tvm_ffi.libinfo.find_include_path()),
            *("-I", tvm_ffi.libinfo.find_dlpack_include_path()),
            str(Path(__file__).with_name("faults.c")),
        ],
        check=True,
        timeout=600,
        env={"ZIG_GLOBAL_CACHE_DIR": str(zig_cache), "ZIG_LOCAL_CACHE_DIR": str(zig_cache)},
    )
    return library


@pytest.fixture
def load_faults(faults: Path) -> Callable[[Any], Any]:
    """Upload the library of faults and load it in a session."""

    def load(session: Any) -> Any:
        session.upload(bytearray(faults.read_bytes()), faults.name)
        return session.load_module(faults.name)

    return load


@pytest.fixture(scope="module")
def program(native_kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDevice]:
    """A device program that the tests of a file share; its state is in ``state``, by its log."""
    folder = tmp_path_factory.mktemp("device")
    launch = native_launch(native_kit, ["--port", "0", "--state", str(folder / "state")])
    with running(launch, folder / "log") as device:
        yield device


@pytest.fixture(scope="session")
def connect() -> Callable[[RunningDevice], AbstractContextManager[Client]]:
    """Open a session with a device program: ``with connect(program) as client``."""

    @contextmanager
    def one(program: RunningDevice) -> Iterator[Client]:
        address = Address(program.host, program.port)
        with open_session(address, Options(wait_s=30.0)) as session:
            yield Client(session)

    return one


@pytest.fixture
def client(
    program: RunningDevice, connect: Callable[[RunningDevice], AbstractContextManager[Client]]
) -> Iterator[Client]:
    """A session with the program that the tests of this file share."""
    with connect(program) as client:
        yield client
