"""What a device keeps of what it was sent, in real sessions that are also killed."""

import hashlib
import json
import os
import resource
import shutil
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import DeviceError
from edgeweave.targets.devices.session import Options, open_session
from edgeweave.targets.kit.launch import native_launch, running

MIB = 1 << 20
LIMIT_S = 60.0


class Store:
    """The store of a device that is open in a session, asked as the wire has it."""

    def __init__(self, device, folder):
        self.device = device
        self.folder = folder
        self.session = None
        self.connect()

    def connect(self):
        address = Address(self.device.host, self.device.port)
        self.session = open_session(address, Options(wait_s=20.0))

    def ask(self, name, *arguments):
        arguments = [json.dumps(a) if isinstance(a, dict) else a for a in arguments]
        reply = self.session.call(f"edgeweave.device.{name}", *arguments, limit_s=LIMIT_S)
        return json.loads(reply)

    def missing(self, *contents):
        """Bytes that the device has of each content that is not there whole."""
        files = [{"sha256": digest(c), "size": len(c)} for c in contents]
        return {m["sha256"]: m["have"] for m in self.ask("missing", {"files": files})["missing"]}

    def put(self, content, begin, end, **changes):
        request = {"sha256": digest(content), "size": len(content), "offset": begin}
        return self.ask("put", request | changes, content[begin:end])

    def send(self, *contents):
        self.missing(*contents)
        for content in contents:
            assert self.put(content, 0, len(content)) == {"have": len(content)}

    def part(self, content):
        return self.folder / f"{digest(content)}.part"

    def whole(self, content):
        return self.folder / digest(content)

    def kill(self):
        """Kill the process of the session, as a crash would."""
        os.kill(self.process(), signal.SIGKILL)
        with pytest.raises(DeviceError):
            self.ask("state")
        self.session.close()

    def process(self):
        listed = Path(f"/proc/{self.device.process.pid}/task/{self.device.process.pid}/children")
        return int(listed.read_text().split()[0])


def digest(content):
    return hashlib.sha256(content).hexdigest()


def made(size, seed=0):
    """Content of that many bytes, another for each seed."""
    block = hashlib.sha256(f"{seed}".encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def error(reply, kind):
    assert reply["error"]["kind"] == kind
    assert "\n" not in reply["error"]["reason"]
    return reply["error"]["reason"]


@pytest.fixture
def open_store(start):
    """Start a device with those options, and open a session on it."""
    with ExitStack() as stack:

        def one(*options):
            device = start(*options)
            store = Store(device.program, device.state / "store")
            stack.callback(lambda: store.session.close())
            return store

        yield one


@pytest.fixture
def store(open_store):
    return open_store("--upload-mib", "8", "--store-mib", "16")


def test_a_file_sent_in_pieces_appears_whole_under_its_digest(store):
    content = made(3 * MIB + 17)
    assert store.missing(content) == {digest(content): 0}
    assert store.put(content, 0, MIB) == {"have": MIB}
    assert not store.whole(content).exists()
    assert store.put(content, MIB, 3 * MIB) == {"have": 3 * MIB}
    assert store.put(content, 3 * MIB, len(content)) == {"have": len(content)}
    assert store.whole(content).read_bytes() == content
    assert not store.part(content).exists()
    assert store.missing(content) == {}


def test_an_empty_file_is_a_file(store):
    assert store.missing(b"") == {digest(b""): 0}
    assert store.put(b"", 0, 0) == {"have": 0}
    assert store.whole(b"").read_bytes() == b""
    assert store.missing(b"") == {}


def test_equal_files_of_one_request_are_one_file(store):
    content = made(5 * MIB)
    files = [{"sha256": digest(content), "size": len(content)}] * 4
    assert len(store.ask("missing", {"files": files})["missing"]) == 1


def test_a_complete_file_is_not_sent_again(store):
    content = made(100)
    store.send(content)
    assert store.put(content, 100, 100) == {"have": 100}
    assert "100 bytes are here" in error(store.put(content, 0, 100), "bad-request")
    assert store.whole(content).read_bytes() == content


def test_a_session_killed_while_it_writes_leaves_a_part_that_is_resumed(store):
    content = made(8 * MIB)
    chunk = 16 * 1024
    taken, ends = [], []
    under_way = threading.Event()

    def send():
        try:
            while taken[-1:] != [len(content)]:
                begin = taken[-1] if taken else 0
                taken.append(store.put(content, begin, begin + chunk)["have"])
                if len(taken) == 5:
                    under_way.set()
        except DeviceError as error:
            ends.append(error)

    store.missing(content)
    process = store.process()
    sender = threading.Thread(target=send)
    sender.start()
    assert under_way.wait(LIMIT_S)
    os.kill(process, signal.SIGKILL)
    sender.join(LIMIT_S)
    assert len(ends) == 1, f"it was not killed before {taken[-1]} bytes"
    store.session.close()
    store.connect()
    have = store.missing(content)[digest(content)]
    assert taken[-1] <= have <= taken[-1] + chunk
    assert not store.whole(content).exists()
    assert store.put(content, have, len(content)) == {"have": len(content)}
    assert store.whole(content).read_bytes() == content


def test_a_file_that_was_whole_but_not_yet_named_is_finished_without_sending(store):
    content = made(1000)
    store.kill()
    store.part(content).write_bytes(content)
    store.connect()
    assert store.missing(content) == {digest(content): 1000}
    assert store.put(content, 1000, 1000) == {"have": 1000}
    assert store.whole(content).read_bytes() == content


def test_a_damaged_part_is_removed_and_named_when_it_is_whole(store):
    content = made(2000)
    store.missing(content)
    store.put(content, 0, 1500)
    store.kill()
    damaged = bytearray(store.part(content).read_bytes())
    damaged[700] ^= 1
    store.part(content).write_bytes(damaged)
    store.connect()
    assert store.missing(content) == {digest(content): 1500}
    assert digest(content)[:12] in error(store.put(content, 1500, 2000), "damaged")
    assert not store.part(content).exists()
    assert not store.whole(content).exists()
    store.send(content)
    assert store.whole(content).read_bytes() == content


def test_what_is_longer_than_the_file_is_no_part_of_it(store):
    content = made(500)
    store.part(content).write_bytes(bytes(501))
    assert store.missing(content) == {digest(content): 0}
    store.send(content)


def test_a_whole_file_that_a_fault_cut_short_is_missing_again(store):
    content = made(500)
    store.send(content)
    os.truncate(store.whole(content), 400)
    assert store.missing(content) == {digest(content): 0}
    store.send(content)
    assert store.whole(content).read_bytes() == content


def test_a_wrong_size_does_not_remove_a_sound_file(store):
    content = made(500)
    store.send(content)
    reply = store.ask("missing", {"files": [{"sha256": digest(content), "size": 400}]})
    assert "has 500 bytes, not 400" in error(reply, "bad-request")
    assert store.whole(content).read_bytes() == content


def test_the_least_recently_used_are_removed_for_what_is_asked_for(store):
    old = [made(4 * MIB, seed) for seed in range(4)]
    for age, content in enumerate(reversed(old)):
        store.send(content)
        os.utime(store.whole(content), (1e9 + age, 1e9 + age))
    foreign = store.folder / "notes"
    foreign.write_text("not ours")
    store.missing(old[3])  # the oldest, and used now
    assert store.missing(old[1], made(5 * MIB, 9)) == {digest(made(5 * MIB, 9)): 0}
    # 5 MiB more: the two oldest of those that nobody asked for
    assert [store.whole(content).exists() for content in old] == [False, True, False, True]
    assert foreign.exists()


def test_parts_of_other_uploads_are_removed_too(store):
    left, wanted = made(7 * MIB, 1), [made(5 * MIB, seed) for seed in (2, 3)]
    store.missing(left)
    store.put(left, 0, 7 * MIB - 1)
    assert set(store.missing(*wanted).values()) == {0}
    assert not store.part(left).exists()


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [((9 * MIB,), "9 MiB is over this device's limit of 8 MiB"), ((8 * MIB,) * 3, "keeps 16 MiB")],
    ids=["one file", "all files"],
)
def test_what_never_fits_is_too_large_and_removes_nothing(store, sizes, reason):
    kept = made(10)
    store.send(kept)
    files = [{"sha256": f"{n:064x}", "size": size} for n, size in enumerate(sizes)]
    assert reason in error(store.ask("missing", {"files": files}), "too-large")
    assert store.missing(kept) == {}


def test_what_the_disk_cannot_hold_is_disk_full_and_removes_nothing(open_store):
    store = open_store("--upload-mib", str(MIB), "--store-mib", str(MIB))
    size = 1 << 40
    if shutil.disk_usage(store.folder).free > size:
        pytest.skip("the disk has more free space than a device may be asked for")
    kept = made(10)
    store.send(kept)
    reply = store.ask("missing", {"files": [{"sha256": "0" * 64, "size": size}]})
    assert "1048576 MiB are needed" in error(reply, "disk-full")
    assert store.missing(kept) == {}


def test_a_disk_that_fills_up_keeps_the_part_for_later(store):
    content = made(3 * MIB)
    store.missing(content)
    store.put(content, 0, MIB)
    process = store.process()
    _soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (MIB + 4096, hard))
    assert "cannot be written" in error(store.put(content, MIB, 3 * MIB), "disk-full")
    have = store.missing(content)[digest(content)]
    assert MIB <= have <= MIB + 4096
    resource.prlimit(process, resource.RLIMIT_FSIZE, (hard, hard))
    assert store.put(content, have, len(content)) == {"have": len(content)}
    assert store.whole(content).read_bytes() == content


GOOD = {"sha256": "a" * 64, "size": 10, "offset": 0}
BAD_FILES = {
    "no JSON": "{",
    "a list": "[]",
    "too deep": "[" * 100000,
    "too long": '"' + "x" * (20 * MIB) + '"',
    "nothing": "{}",
    "files is no list": '{"files": 3}',
    "a file is no object": '{"files": [3]}',
    "no size": {"files": [{"sha256": "a" * 64}]},
    "size is a text": {"files": [{"sha256": "a" * 64, "size": "10"}]},
    "size is a fraction": {"files": [{"sha256": "a" * 64, "size": 1.5}]},
    "size is true": {"files": [{"sha256": "a" * 64, "size": True}]},
    "size is negative": {"files": [{"sha256": "a" * 64, "size": -1}]},
    "size is beyond 64 bits": '{"files": [{"sha256": "%s", "size": 1e30}]}' % ("a" * 64),
    "digest is a number": {"files": [{"sha256": 5, "size": 1}]},
    "digest is short": {"files": [{"sha256": "a" * 63, "size": 1}]},
    "digest is no hex": {"files": [{"sha256": "g" * 64, "size": 1}]},
    "digest is uppercase": {"files": [{"sha256": "A" * 64, "size": 1}]},
    "digest is a path": {"files": [{"sha256": "../" * 21 + "x", "size": 1}]},
    "digest is very long": {"files": [{"sha256": "a" * MIB, "size": 1}]},
    "two sizes of one digest": {
        "files": [{"sha256": "a" * 64, "size": 1}, {"sha256": "a" * 64, "size": 2}]
    },
}


@pytest.fixture(scope="module")
def shared(native_kit, tmp_path_factory):
    """A store for requests that change nothing."""
    folder = tmp_path_factory.mktemp("device")
    launch = native_launch(native_kit, ["--port", "0", "--state", str(folder / "state")])
    with running(launch, folder / "log") as device:
        store = Store(device, folder / "state" / "store")
        yield store
        store.session.close()


@pytest.mark.parametrize("request_", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_request_for_files_is_answered(shared, request_):
    error(shared.ask("missing", request_), "bad-request")
    assert "free_mib" in shared.ask("state")


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": None},
        {"offset": -1},
        {"offset": 11},
        {"offset": 5},
        {"offset": "0"},
        {"size": 11},
        {"size": -1},
        {"size": None},
        {"sha256": "b" * 64},
        {"sha256": None},
        {"sha256": "../../../etc/passwd"},
    ],
    ids=str,
)
def test_a_bad_put_is_answered_and_writes_nothing(shared, changes):
    assert shared.ask("missing", {"files": [{"sha256": "a" * 64, "size": 10}]})
    error(shared.ask("put", GOOD | changes, b"12345"), "bad-request")
    assert list(shared.folder.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [(), (GOOD,), (GOOD, "text"), (GOOD, 5), (5, b""), (GOOD, None), (GOOD, b"more than ten")],
    ids=["none", "no data", "text", "a number", "no request", "null", "too much"],
)
def test_bad_arguments_of_put_are_answered(shared, arguments):
    assert shared.ask("missing", {"files": [{"sha256": "a" * 64, "size": 10}]})
    error(shared.ask("put", *arguments), "bad-request")
    assert list(shared.folder.iterdir()) == []


def test_a_put_that_was_not_asked_for_is_answered(shared):
    shared.ask("missing", {"files": []})
    assert "missing" in error(shared.ask("put", GOOD, b"0123456789"), "bad-request")
    assert list(shared.folder.iterdir()) == []
