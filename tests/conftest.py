"""What every test relies on: the user's cache is never read or written.

And the kits that devices are started from. What they are made of is downloaded and compiled once
and kept between runs, beside the user's cache: ``edgeweave-tests``.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from edgeweave.targets.cache import cache_dir

if TYPE_CHECKING:
    from edgeweave.targets.kit.emulate import Emulator
    from edgeweave.targets.kit.launch import RunningDevice

_T = TypeVar("_T")
# Before the environment is changed.
_KEPT = cache_dir().absolute().with_name(f"{cache_dir().name}-tests")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session, so that equal regions of several tests are checked once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWEAVE_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def kept_cache() -> Path:
    """A cache that stays between runs; only what devices are made of may go there."""
    return _KEPT


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While inside, no other test process makes what is kept there; it takes minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def native_kit(kept_cache: Path) -> Path:
    """The kit for this machine as a folder, not to be changed; compiled the first time."""
    from edgeweave.targets.kit.architectures import host_architecture
    from edgeweave.targets.kit.build import cached_kit

    with _alone(kept_cache):
        return cached_kit(host_architecture(), kept_cache / "device", _say).path


@pytest.fixture(scope="session")
def aarch64_kit(kept_cache: Path) -> Path:
    """The kit for aarch64 as a folder, not to be changed; TVM's wheels are downloaded once."""
    from edgeweave.targets.kit.architectures import find_architecture
    from edgeweave.targets.kit.build import cached_kit
    from edgeweave.targets.kit.wheels import find_libraries

    architecture = find_architecture("aarch64")
    cache = kept_cache / "device"
    with _alone(kept_cache):
        _needed("TVM's wheels for aarch64", lambda: find_libraries(architecture, cache, _say))
        return cached_kit(architecture, cache, _say).path


@pytest.fixture(scope="session")
def emulation_root(aarch64_emulator: Emulator) -> Path:
    """A folder with the libraries of an aarch64 system, for qemu's -L."""
    return aarch64_emulator.root


@pytest.fixture(scope="session")
def aarch64_emulator(kept_cache: Path) -> Emulator:
    """qemu for aarch64 and a root for it; downloaded once."""
    from edgeweave.targets.kit.architectures import find_architecture, host_architecture
    from edgeweave.targets.kit.emulate import find_emulator

    architecture = find_architecture("aarch64")
    if host_architecture() == architecture:
        pytest.skip("this machine is aarch64: nothing to emulate")
    cache = kept_cache / "device"
    with _alone(kept_cache):
        return _needed("qemu and Debian packages", lambda: find_emulator(architecture, cache, _say))


_TRACKER = """
from tvm.rpc.tracker import PopenTrackerServerState
state = PopenTrackerServerState("127.0.0.1", 20000, 60000, silent=True)
print(f"edgeweave-device: listening on 127.0.0.1:{state.port}", flush=True)
state.thread.join()
"""


@pytest.fixture
def own_tracker(tmp_path: Path) -> Iterator[RunningDevice]:
    """TVM's own tracker, to be stopped or killed; it says where it listens as a device does."""
    from edgeweave.targets.kit.launch import Launch, running

    with running(Launch((sys.executable, "-c", _TRACKER), {}), tmp_path / "tracker.log") as tracker:
        yield tracker
        tracker.process.kill()


@pytest.fixture(scope="session")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDevice]:
    """TVM's own tracker, for all tests that leave it as it is; each uses keys of its own."""
    from edgeweave.targets.kit.launch import Launch, running

    log = tmp_path_factory.mktemp("tracker") / "log"
    with running(Launch((sys.executable, "-c", _TRACKER), {}), log) as tracker:
        yield tracker
        tracker.process.kill()


@pytest.fixture
def start_device(native_kit: Path, tmp_path: Path) -> Iterator[Callable[..., RunningDevice]]:
    """Start devices of this machine's architecture: ``start_device("--name", "rack-01")``.

    With ``tracker`` and ``key`` the device is registered and free when the call returns. ``kit``
    is another folder to start it from. All that was started is ended after the test.
    """
    from edgeweave.targets.devices.address import Address
    from edgeweave.targets.devices.tracker import Tracker
    from edgeweave.targets.kit.launch import native_launch, running

    def start(
        *options: str,
        tracker: RunningDevice | None = None,
        key: str = "device",
        kit: Path | None = None,
    ) -> RunningDevice:
        folder = tmp_path / f"device-{len(started)}"
        folder.mkdir()
        words = ["--port", "0", "--state", str(folder / "state"), "--key", key, *options]
        if tracker is not None:
            words += ["--tracker", f"{tracker.host}:{tracker.port}"]
        launch = native_launch(kit or native_kit, words)
        device = stack.enter_context(running(launch, folder / "log"))
        stack.callback(device.process.send_signal, signal.SIGCONT)
        started.append(device)
        if tracker is not None:
            asked = Tracker(Address(tracker.host, tracker.port))
            place = Address(device.host, device.port)
            deadline = time.monotonic() + 20
            while place not in asked.summary().of(key) or not asked.summary().keys[key].free:
                assert time.monotonic() < deadline, device.said()
                time.sleep(0.02)
        return device

    started: list[RunningDevice] = []
    with ExitStack() as stack:
        yield start


@pytest.fixture(scope="session")
def own_board() -> Callable[..., str]:
    """This machine as the text of a board file: two engines, a and b, of one core each."""
    from edgeweave.targets.cpuinfo import llvm_target, read_cpu

    def text(name: str = "own", **target: object) -> str:
        """With these keys of the LLVM target instead of this machine's."""
        cpu = read_cpu()
        keys = {**llvm_target(cpu.machine, cpu.flags), **target}
        shown = ", ".join(f"{key} = {_toml(value)}" for key, value in keys.items())
        given = 'origin = "chosen: a board of a test"'
        engines = "".join(
            f"""
            [[engine]]
            name = "{engine}"
            kind = "cpu"
            description = "one core"
            backends = ["cpu", "onnxruntime"]
            cores = [{core}]
            llvm_target = {{ {shown} }}
            peak_float32_gops = {{ value = 50, {given} }}
            compute_efficiency = {{ value = 0.2, {given} }}
            memory_efficiency = {{ value = 0.5, {given} }}
            call_overhead_us = {{ value = 20, {given} }}
            """
            for core, engine in enumerate("ab")
        )
        return f"""
            name = "{name}"
            description = "a board of a test"
            [memory]
            dram_gb_s = {{ value = 10, {given} }}
            {engines}
            [[link]]
            between = ["a", "b"]
            bandwidth_gb_s = {{ value = 3, {given} }}
            latency_us = {{ value = 10, {given} }}
            """

    return text


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    assert isinstance(value, list | tuple)
    return "[" + ", ".join(map(_toml, value)) + "]"


@pytest.fixture(scope="session")
def compile_stages(own_board: Callable[..., str]) -> Callable[..., Path]:
    """Compile a model for the own board, or another, with stages that TVM compiled only."""
    from edgeweave.compiler.pipeline import Job, compile_model
    from edgeweave.partition.constraints import Constraints, Demand
    from edgeweave.targets.board_schema import parse_board

    def compile_to(
        path: Path,
        model: Path,
        *,
        place: Sequence[str] = (),
        board: str = "",
        reference: bool = True,
    ) -> Path:
        """``place`` are regions and slots, as "r000*=a"."""
        found = parse_board(board or own_board(), "own.toml")
        demands = tuple(Demand(*text.split("=")) for text in place)
        avoided = tuple(Demand("*", f"{engine.name}/onnxruntime") for engine in found.engines)
        job = Job(model, board=found, constraints=Constraints(place=demands, avoid=avoided))
        return compile_model(job, path, reference=reference).bundle

    return compile_to


@pytest.fixture(scope="session")
def device_bundle(
    compile_stages: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """x times a matrix and above zero on engine a, its softmax on b: ``y``. Not to be changed."""
    import numpy as np
    from onnx import numpy_helper, parser

    folder = tmp_path_factory.mktemp("device-bundle")
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[2,8] x) => (float[2,8] y) '
        "{ m = MatMul(x, w) h = Relu(m) y = Softmax(h) }"
    )
    weight = np.random.default_rng(3).standard_normal((8, 8)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    model = folder / "small.onnx"
    model.write_bytes(proto.SerializeToString())
    return compile_stages(folder / "small.bundle", model, place=("r000*=a", "r001*=b"))


def _needed(what: str, find: Callable[[], _T]) -> _T:
    """What a test needs from the network; without it the test is skipped, but not in CI."""
    from edgeweave.targets.kit.errors import KitError

    try:
        return find()
    except KitError as error:
        if os.environ.get("CI", "").lower() in ("true", "1"):
            raise
        pytest.skip(f"{what} cannot be had: {error}")


def _say(doing: str, what: str) -> None:
    print(f"{doing} {what}", file=sys.stderr)
