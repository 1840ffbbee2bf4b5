"""Deploy a bundle to a device again and again, and watch what client and device hold on to.

Every cycle gets the device from a tracker, opens a session, sends what is missing, runs frames,
compares them with ONNX Runtime and ends the session. Descriptors, threads, memory and temporary
files of the client, the device's program and the tracker are counted before, on the way and at the
end. Exits with 1 when something has grown, a cycle failed, or the time is over.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeweave.compiler.devices.deploy import deploy
from edgeweave.compiler.devices.run import Work
from edgeweave.compiler.pipeline import Job, compile_model
from edgeweave.compiler.sampling import random_inputs
from edgeweave.partition.constraints import Constraints, Demand
from edgeweave.partition.plan import Request
from edgeweave.runtime.bundle import Bundle, open_bundle
from edgeweave.runtime.compare import Tolerance
from edgeweave.targets.board_file import load_board
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.greeting import Options
from edgeweave.targets.devices.pool import Place
from edgeweave.targets.devices.tracker import Tracker
from edgeweave.targets.kit.architectures import find_architecture
from edgeweave.targets.kit.build import cached_kit
from edgeweave.targets.kit.emulate import emulated_device, find_emulator
from edgeweave.targets.kit.launch import RunningDevice
from edgeweave.targets.kit.storage import device_cache

KEY = "soak"
SETTLED = 20  # cycles after which caches are filled; growth counts from there
GROWTH = 1.05  # of the memory in use, over all cycles after that
SLACK_KIB = 4096  # allocators keep pages: growth below this is none


@dataclass(frozen=True)
class Held:
    """What a process holds: descriptors, threads, resident memory in KiB."""

    descriptors: int
    threads: int
    memory_kib: int

    @classmethod
    def by(cls, pid: int) -> Held:
        """What the process holds now."""
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return cls(descriptors, int(status["Threads"]), int(status["VmRSS"].split()[0]))


@dataclass(frozen=True)
class Snapshot:
    """What client, device and tracker hold, and the temporary entries that lie about."""

    client: Held
    device: Held
    tracker: Held
    client_files: int
    device_files: int

    def grown(self, since: Snapshot) -> list[str]:
        """What is more than it was, in words."""
        found = []
        for name in ("client", "device", "tracker"):
            then, now = getattr(since, name), getattr(self, name)
            if now.descriptors > then.descriptors:
                found.append(f"{name}: descriptors {then.descriptors} -> {now.descriptors}")
            if now.threads > then.threads:
                found.append(f"{name}: threads {then.threads} -> {now.threads}")
            if now.memory_kib > max(then.memory_kib * GROWTH, then.memory_kib + SLACK_KIB):
                found.append(f"{name}: memory {then.memory_kib} -> {now.memory_kib} KiB")
        for name in ("client_files", "device_files"):
            if getattr(self, name) > getattr(since, name):
                found.append(f"{name}: {getattr(since, name)} -> {getattr(self, name)}")
        return found

    def __str__(self) -> str:
        parts = [
            f"{name} {held.descriptors} fds {held.threads} threads {held.memory_kib / 1024:.1f} MiB"
            for name, held in (
                ("client", self.client),
                ("device", self.device),
                ("tracker", self.tracker),
            )
        ]
        return f"{', '.join(parts)}; files {self.client_files} + {self.device_files}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="edgeweave-soak-") as name:
        folder = Path(name)
        tempfile.tempdir = str(folder / "tmp")
        Path(tempfile.tempdir).mkdir()
        bundle = _compile(options.model, folder)
        with (
            _tracker() as (tracker, process),
            _device(options, tracker, folder) as device,
            open_bundle(bundle) as opened,
        ):
            watch = _Watch(device, process, folder)
            return _cycles(options, opened, Place(tracker, KEY, 1, _PATIENT), watch)


_PATIENT = Options(wait_s=30.0)  # the device needs a moment to end one session


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--model", type=Path, help="default: a small convolutional network")
    parser.add_argument("--cpu", default="cortex-a53", help="the CPU that qemu emulates")
    parser.add_argument("--minutes", type=float, default=20.0, help="most time for all cycles")
    return parser


def _compile(model: Path | None, folder: Path) -> Path:
    job = Job(
        model=model or _small_network(),
        board=load_board("quad-virt"),
        request=Request(),
        constraints=Constraints(avoid=(Demand("*", "*/onnxruntime"),)),
    )
    return compile_model(job, folder / "model.bundle").bundle


def _small_network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@contextmanager
def _tracker() -> Iterator[tuple[Address, subprocess.Popen[bytes]]]:
    """TVM's tracker on a free port."""
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tvm.exec.rpc_tracker", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--port-end", str(port + 1)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    address = Address("127.0.0.1", port)
    try:
        yield address, process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


@contextmanager
def _device(options: argparse.Namespace, tracker: Address, folder: Path) -> Iterator[RunningDevice]:
    """An emulated device that is registered with the tracker."""
    architecture = find_architecture("aarch64")
    emulator = find_emulator(architecture, device_cache(), _say)
    kit = cached_kit(architecture, device_cache(), _say).path
    words = ["--port", "0", "--tracker", str(tracker), "--key", KEY]
    words += ["--state", str(folder / "state")]
    with emulated_device(emulator, kit, folder / "device.log", words, options.cpu) as device:
        deadline = time.monotonic() + 90
        while not _is_registered(tracker):
            if time.monotonic() > deadline:
                raise SystemExit("the device does not appear at the tracker")
            time.sleep(0.2)
        yield device


def _is_registered(tracker: Address) -> bool:
    from edgeweave.targets.devices.faults import DeviceError

    try:
        return KEY in Tracker(tracker).summary().keys
    except DeviceError:
        return False


def _say(doing: str, what: str) -> None:
    print(f"{doing} {what}", file=sys.stderr)


class _Watch:
    """Takes snapshots."""

    def __init__(self, device: RunningDevice, tracker: subprocess.Popen[bytes], folder: Path):
        self._pids = (os.getpid(), device.process.pid, tracker.pid)
        self._state = folder / "state"
        self._temporary = folder / "tmp"

    def look(self) -> Snapshot:
        gc.collect()
        client, device, tracker = map(Held.by, self._pids)
        return Snapshot(
            client,
            device,
            tracker,
            sum(1 for _ in self._temporary.rglob("*")),
            sum(1 for _ in self._state.rglob("*")),
        )


def _cycles(options: argparse.Namespace, bundle: Bundle, place: Place, watch: _Watch) -> int:
    frames = (random_inputs(bundle.manifest.inputs, 0, "unit"),)
    work = Work(bundle, frames, count=2, warmup=0, fetched=1, timeout_s=120.0)
    begin, taken, first = time.monotonic(), [], watch.look()
    settled = min(SETTLED, max(1, options.cycles // 4))
    for cycle in range(1, options.cycles + 1):
        started = time.monotonic()
        (result,) = deploy(work, place, Tolerance(1e-3, 1e-3), lambda *_: None)
        if result.result != "verified":
            print(f"cycle {cycle}: {result.result}: {result.fault}")
            return 1
        taken.append(time.monotonic() - started)
        if time.monotonic() - begin > options.minutes * 60:
            print(f"cycle {cycle}: {options.minutes:g} minutes are over")
            return 1
        if cycle == settled:
            first = _steady(watch, None)
        if cycle % 20 == 0 or cycle == options.cycles:
            print(f"{cycle:4} cycles: {watch.look()}", flush=True)
    grown = _steady(watch, first).grown(first)
    word = "emulated" if result.identity is not None and result.identity.emulated else "measured"
    print(
        f"{options.cycles} cycles, median {median(taken):.2f} s each ({word}), all equal to ONNX "
        f"Runtime; {threading.active_count()} threads in the client"
    )
    print("grown: " + ("; ".join(grown) if grown else "nothing"))
    return 1 if grown else 0


def _steady(watch: _Watch, before: Snapshot | None) -> Snapshot:
    """A snapshot once the last session has ended on the device, a few seconds at most."""
    for _ in range(25):
        time.sleep(0.2)
        snapshot = watch.look()
        if before is not None and not snapshot.grown(before):
            break
    return snapshot


if __name__ == "__main__":
    sys.exit(main())
