"""What can go wrong between here and a device: each has a name, an end, and harms nothing else.

After every fault the same tracker and device serve a good request.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.identity import hello
from edgeweave.targets.devices.session import Options, open_session
from edgeweave.targets.devices.tracker import Tracker

FOR_LONG = ("--frames", "200000", "--timeout", "60s")


def address(device) -> str:
    return f"{device.host}:{device.port}"


def sessions_of(device) -> list[int]:
    """Processes that serve sessions of a device now."""
    children = Path(f"/proc/{device.process.pid}/task/{device.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def wait_for(what: Callable[[], object], limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, "waited for nothing"
        time.sleep(0.02)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_nothing_is_at_the_trackers_address(rack, start_device):
    start_device(tracker=rack.tracker, key=rack.key)
    said = rack.edgeweave(
        "deploy", rack.bundle, "--rpc", f"127.0.0.1:{closed_port()}", "--key", rack.key
    )
    assert re.search(r"tracker .*refused", said.fault())
    rack.still_serves()


def test_the_tracker_is_frozen(edgeweave, small, own_tracker, start_device):
    start_device(tracker=own_tracker, key="frozen")
    own_tracker.process.send_signal(signal.SIGSTOP)
    said = edgeweave("deploy", small, "--rpc", address(own_tracker), "--key", "frozen")
    assert "tracker" in said.fault()
    own_tracker.process.send_signal(signal.SIGCONT)
    place = Address(own_tracker.host, own_tracker.port)
    wait_for(lambda: "frozen" in Tracker(place).summary().keys, 60)  # it registers again
    options = ("--rpc", address(own_tracker), "--key", "frozen", "--wait", "30s")
    assert edgeweave("deploy", small, *options, "--verify").status == 0


def test_the_tracker_was_restarted(edgeweave, small, own_tracker, start_device):
    """A device that lost its tracker serves by its address."""
    device = start_device(tracker=own_tracker, key="alone")
    own_tracker.process.kill()
    said = edgeweave("deploy", small, "--rpc", address(own_tracker), "--key", "alone")
    assert "tracker" in said.fault()
    assert edgeweave("deploy", small, "--rpc", address(device), "--verify").status == 0


def test_no_device_has_the_key(rack, start_device):
    start_device(tracker=rack.tracker, key=rack.key)
    options = ("--rpc", address(rack.tracker), "--key", "no-such-board", "--wait", "1s")
    line = rack.edgeweave("deploy", rack.bundle, *options).fault()
    assert "no-such-board" in line
    assert rack.key in line
    rack.still_serves()


def test_the_device_is_busy(rack, start_device):
    device = start_device(tracker=rack.tracker, key=rack.key)
    options = ("--rpc", address(device), "--wait", "1s")
    with open_session(Address(device.host, device.port), Options(limit_s=60)):
        line = rack.edgeweave("deploy", rack.bundle, *options).fault()
    assert "127.0.0.1" in line
    assert re.search(r"busy|session", line)
    rack.still_serves()


def test_a_call_takes_too_long(rack, large, start_device):
    start_device(tracker=rack.tracker, key=rack.key)
    options = ("--frames", "100000", "--timeout", "1ms")
    line = rack.edgeweave("deploy", large, *rack.options, *options).fault()
    assert "0.001 s" in line
    rack.still_serves()


def test_the_devices_own_limit_ends_a_session(rack, start_device, begin):
    start_device("--max-session", "2", tracker=rack.tracker, key=rack.key)
    line = begin("deploy", rack.bundle, *rack.options, *FOR_LONG).said().fault()
    assert "time limit" in line
    rack.still_serves()


def test_the_session_is_killed_again_and_again(rack, start_device, begin):
    device = start_device(tracker=rack.tracker, key=rack.key)
    running = begin("deploy", rack.bundle, *rack.options, *FOR_LONG)
    while running.process.poll() is None:
        for pid in sessions_of(device):
            time.sleep(0.3)  # well into its run
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    assert "SIGKILL" in running.said().fault()
    rack.still_serves()


def test_the_session_is_killed_once(rack, start_device, begin):
    device = start_device(tracker=rack.tracker, key=rack.key)
    running = begin("deploy", rack.bundle, *rack.options, "--frames", "20000", "--verify")
    wait_for(lambda: sessions_of(device))
    time.sleep(0.3)
    os.kill(sessions_of(device)[0], signal.SIGKILL)
    said = running.said()
    assert said.status == 0, said.err
    assert "SIGKILL" in said.out + said.err
    rack.still_serves()


def test_the_device_is_killed_while_it_runs(rack, start_device, begin):
    device = start_device(tracker=rack.tracker, key=rack.key)
    running = begin("deploy", rack.bundle, *rack.options, *FOR_LONG)
    wait_for(lambda: sessions_of(device))
    time.sleep(0.3)
    device.process.kill()
    line = running.said().fault()
    assert address(device) in line
    start_device(tracker=rack.tracker, key=rack.key)
    rack.still_serves()


def test_the_device_is_frozen_while_it_runs(rack, start_device, begin):
    device = start_device(tracker=rack.tracker, key=rack.key)
    options = ("--frames", "200000", "--timeout", "3s")
    running = begin("deploy", rack.bundle, *rack.options, *options)
    wait_for(lambda: sessions_of(device))
    time.sleep(0.3)
    frozen = [device.process.pid, *sessions_of(device)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    line = running.said().fault()
    assert re.search(r"does not answer|did not answer", line)
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    rack.still_serves()


def test_only_the_session_is_frozen(rack, start_device, begin):
    device = start_device(tracker=rack.tracker, key=rack.key)
    options = ("--frames", "200000", "--timeout", "3s")
    running = begin("deploy", rack.bundle, *rack.options, *options)
    wait_for(lambda: sessions_of(device))
    time.sleep(0.3)
    os.kill(sessions_of(device)[0], signal.SIGSTOP)
    line = running.said().fault()
    assert re.search(r"not done after [0-9.]+ s", line)
    # the device itself ends what is frozen when the session's time is over; here we do it
    for pid in sessions_of(device):
        os.kill(pid, signal.SIGKILL)
    rack.still_serves()


def test_the_link_is_cut_while_files_are_sent(rack, large, start_device, relay):
    device = start_device(tracker=rack.tracker, key=rack.key)
    link = relay(device, cut_after=2 << 20)
    said = rack.edgeweave("deploy", large, "--rpc", link.address, "--verify", "--json")
    assert said.status == 0, said.err
    assert link.cuts == 1
    (result,) = json.loads(said.out)["devices"]
    assert len(result["retried"]) == 1
    assert result["upload"]["sent_bytes"] < result["upload"]["bytes"] * 1.5  # not all of it again
    rack.still_serves()


def test_the_link_is_cut_every_time(rack, large, start_device, relay):
    device = start_device(tracker=rack.tracker, key=rack.key)
    link = relay(device)
    stop = []

    def cut_all() -> None:
        while not stop:
            for pid in sessions_of(device):
                link.close()
                del pid
            time.sleep(0.01)

    import threading

    cutter = threading.Thread(target=cut_all)
    cutter.start()
    line = rack.edgeweave("deploy", large, "--rpc", link.address).fault()
    stop.append(True)
    cutter.join()
    assert re.search(r"cut|refused|unreachable|reached", line)
    rack.still_serves()


def test_the_disk_is_full(rack, large, start_device):
    """A limit on the size of files stands for the end of the disk: the system refuses the write."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        device = start_device(tracker=rack.tracker, key=rack.key)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    line = rack.edgeweave("deploy", large, *rack.options).fault()
    assert re.search(r"cannot be written: File too large|needed in .* are free", line)
    store = Path(device.log.parent / "state" / "store")
    assert all(path.stat().st_size <= 1 << 20 for path in store.iterdir())
    rack.still_serves()


def test_a_file_is_larger_than_the_device_takes(rack, large, start_device):
    start_device("--upload-mib", "1", tracker=rack.tracker, key=rack.key)
    line = rack.edgeweave("deploy", large, *rack.options).fault()
    assert "limit of 1 MiB" in line
    rack.still_serves()


def test_the_code_is_for_another_architecture(rack, start_device, bundles):
    start_device(tracker=rack.tracker, key=rack.key)
    foreign = bundles / "foreign.bundle"
    compiled = rack.edgeweave(
        *("compile", bundles / "small.onnx", "--board", "quad-virt"),
        *("--avoid", "*=*/onnxruntime", "-o", foreign),
    )
    assert compiled.status == 0, compiled.err
    line = rack.edgeweave("deploy", foreign, *rack.options).fault()
    assert "aarch64" in line
    assert "x86_64" in line
    rack.still_serves()


def test_the_device_has_other_versions(rack, start_device, native_kit, tmp_path):
    kit = tmp_path / "old-kit"
    shutil.copytree(native_kit, kit)
    about = json.loads((kit / "device.json").read_text())
    about["versions"]["apache-tvm"] = "0.26.0"
    (kit / "device.json").write_text(json.dumps(about))
    old = start_device("--name", "old", tracker=rack.tracker, key=f"{rack.key}-old", kit=kit)
    line = rack.edgeweave("deploy", rack.bundle, "--rpc", address(old)).fault()
    assert "0.26.0" in line
    assert "device build" in line
    assert old.process.poll() is None
    start_device(tracker=rack.tracker, key=rack.key)
    rack.still_serves()


@pytest.mark.parametrize("given", ["none", "wrong"])
def test_the_secret_is_missing_or_wrong(rack, start_device, tmp_path, given):
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "wrong").write_text("open wheat\n")
    device = start_device("--secret-file", str(tmp_path / "secret"))
    options = [] if given == "none" else ["--secret-file", tmp_path / "wrong"]
    line = rack.edgeweave("deploy", rack.bundle, "--rpc", address(device), *options).fault()
    assert "secret" in line
    right = ("--rpc", address(device), "--secret-file", tmp_path / "secret", "--verify")
    assert rack.edgeweave("deploy", rack.bundle, *right).status == 0


def test_something_else_listens_there(rack, start_device):
    """The tracker is given where a device should be."""
    start_device(tracker=rack.tracker, key=rack.key)
    line = rack.edgeweave("deploy", rack.bundle, "--rpc", address(rack.tracker)).fault()
    assert "is a TVM tracker" in line
    rack.still_serves()


def test_one_of_several_devices_dies(rack, start_device, begin):
    devices = [
        start_device("--name", f"rack-{i}", tracker=rack.tracker, key=rack.key) for i in range(3)
    ]
    running = begin("deploy", rack.bundle, *rack.options, "--frames", "20000", "--verify", "--json")
    wait_for(lambda: all(sessions_of(device) for device in devices))
    time.sleep(0.3)
    devices[1].process.kill()
    said = running.said()
    assert "1 of 3 devices" in said.fault()
    results = {d["name"]: d["result"] for d in json.loads(said.out)["devices"]}
    assert results == {"rack-0": "verified", "rack-1": "failed", "rack-2": "verified"}
    rack.still_serves()


def test_an_interrupted_deployment_frees_the_device(rack, start_device, begin):
    device = start_device(tracker=rack.tracker, key=rack.key)
    running = begin("deploy", rack.bundle, *rack.options, *FOR_LONG)
    wait_for(lambda: sessions_of(device))
    time.sleep(0.3)
    running.process.send_signal(signal.SIGINT)
    assert running.said(30).status == 130
    wait_for(lambda: hello(Address(device.host, device.port)).busy is None)
    rack.still_serves()


def test_a_request_that_was_given_up_swallows_no_device(rack, start_device):
    device = start_device(tracker=rack.tracker, key=rack.key)
    place = Address(rack.tracker.host, rack.tracker.port)
    Tracker(place).request(rack.key, 5)  # and nobody ever connects with it
    assert rack.edgeweave("deploy", rack.bundle, *rack.options, "--wait", "40s").status == 0
    assert device.process.poll() is None
