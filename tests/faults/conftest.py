"""A rack on this machine: TVM's tracker, real devices, and links to them that can be cut."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeweave.compiler.cli import main
from edgeweave.targets.kit.launch import RunningDevice

CALL = "import sys; from edgeweave.compiler.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    def fault(self) -> str:
        """The one line that says what failed, after checking that it is one and no traceback."""
        assert self.status == 5, (self.status, self.out, self.err)
        assert "Traceback" not in self.out + self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line


@pytest.fixture
def edgeweave(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Said]]:
    """Run the command line in this process, which has imported TVM already."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(int(status), out, err)

    yield run
    signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Running:
    """The command line as a process of its own, while it works."""

    process: subprocess.Popen[str]

    def said(self, limit_s: float = 90) -> Said:
        """Wait for its end; a hang is an error."""
        out, err = self.process.communicate(timeout=limit_s)
        return Said(self.process.returncode, out, err)


@pytest.fixture
def begin(request: pytest.FixtureRequest) -> Iterator[Callable[..., Running]]:
    """Start the command line in the background; whatever still runs is killed at the end."""
    with ExitStack() as stack:

        def start(*arguments: object) -> Running:
            command = [sys.executable, "-c", CALL, *map(str, arguments)]
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            return Running(process)

        yield start


def network(channels: int) -> onnx.ModelProto:
    """Two convolutions; with 1,024 channels they hold 4 MiB of weights."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((channels, 3, 1, 1)).astype(np.float32)
    second = rng.standard_normal((channels, channels, 1, 1)).astype(np.float32) / channels
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Conv", ["b", "w2"], ["y"]),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 8, 8])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory, own_board: Callable[..., str]) -> Path:
    """``small.bundle`` and ``large.bundle`` (4 MiB of weights) for this machine's CPU."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "own.toml").write_text(own_board())
    for name, channels in (("small", 16), ("large", 1024)):
        onnx.save(network(channels), folder / f"{name}.onnx")
        status = main(
            [
                *("compile", str(folder / f"{name}.onnx"), "--board", str(folder / "own.toml")),
                *("--avoid", "*=*/onnxruntime", "-o", str(folder / f"{name}.bundle"), "--quiet"),
            ]
        )
        assert status == 0
    return folder


@pytest.fixture
def small(bundles: Path) -> Path:
    """A bundle that runs in no time."""
    return bundles / "small.bundle"


@pytest.fixture
def large(bundles: Path) -> Path:
    """A bundle of more than 4 MiB."""
    return bundles / "large.bundle"


@dataclass
class Rack:
    """A tracker and a key of its own, under which devices are registered."""

    tracker: RunningDevice
    key: str
    edgeweave: Callable[..., Said]
    bundle: Path

    @property
    def options(self) -> list[str]:
        """What names the rack on the command line."""
        return ["--rpc", f"{self.tracker.host}:{self.tracker.port}", "--key", self.key]

    def still_serves(self) -> None:
        """A good request gets its result."""
        done = self.edgeweave(
            "deploy", self.bundle, *self.options, "--devices", "1", "--verify", "--wait", "30s"
        )
        assert done.status == 0, done.err
        assert "verified" in done.out or "passed" in done.out, done.out


@pytest.fixture
def rack(
    request: pytest.FixtureRequest,
    tracker: RunningDevice,
    edgeweave: Callable[..., Said],
    small: Path,
) -> Rack:
    """The tracker with a key that only this test uses."""
    key = f"key-{abs(hash(request.node.name)) % 10**8}"
    return Rack(tracker, key, edgeweave, small)


@dataclass
class Relay:
    """A link to a device. It can be cut at once, and after so many bytes towards the device."""

    host: str
    port: int
    listener: socket.socket
    cut_after: int | None = None
    passed: int = 0
    cuts: int = 0
    _connections: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where to connect to."""
        return "{}:{}".format(*self.listener.getsockname())

    def serve(self) -> None:
        """Pass on whatever connects, each in threads of its own."""
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection((self.host, self.port), 10)
            far.settimeout(None)
            self._connections += [near, far]
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
                self.passed += len(data) if counted else 0
                if self.cut_after is not None and self.passed > self.cut_after:
                    self.cut_after, self.cuts = None, self.cuts + 1
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        time.sleep(0.05)
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@pytest.fixture
def relay() -> Iterator[Callable[[RunningDevice], Relay]]:
    """A link of one's own to a device."""
    with ExitStack() as stack:

        def start(device: RunningDevice, cut_after: int | None = None) -> Relay:
            listener = socket.create_server(("127.0.0.1", 0))
            link = Relay(device.host, device.port, listener, cut_after)
            threading.Thread(target=link.serve, daemon=True).start()
            return stack.enter_context(closing(link))

        yield start
