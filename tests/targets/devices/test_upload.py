"""Uploads to real devices: only what is missing, from where it stopped, never what is wrong."""

from __future__ import annotations

import hashlib
import random

import pytest

from edgeweave.runtime.errors import BundleError
from edgeweave.targets.devices.address import Address
from edgeweave.targets.devices.faults import Damaged, LinkCut, TooLarge
from edgeweave.targets.devices.greeting import Options
from edgeweave.targets.devices.session import open_session
from edgeweave.targets.devices.upload import CHUNK, File, Upload, Uploader


@pytest.fixture
def make_file(tmp_path):
    """A file of random bytes."""

    def make(size, seed=0):
        data = random.Random(seed).randbytes(size)
        path = tmp_path / f"{seed}-{size}.bin"
        path.write_bytes(data)
        return File(hashlib.sha256(data).hexdigest(), size, path)

    return make


@pytest.fixture
def connect(start_device):
    """Open one session after another on one device."""
    options: list[str] = []

    def open_one(*more):
        if not options:
            device = start_device(*more)
            options.append(f"{device.host}:{device.port}")
        host, _, port = options[0].rpartition(":")
        # the device may still be at the end of the session before
        return open_session(Address(host, int(port)), Options(wait_s=20))

    return open_one


def test_what_the_device_has_is_not_sent_again(connect, make_file):
    large, empty = make_file(2 * CHUNK + 17), make_file(0)
    files = [large, empty, File(large.sha256, large.size, large.path)]
    with connect() as session:
        first = Uploader(files).run(session)
    assert first == Upload(2, large.size, present_files=0, sent_files=2, sent_bytes=large.size)
    other = make_file(100, seed=1)
    with connect() as session:
        assert Uploader(files).run(session) == Upload(2, large.size, 2, 0, 0)
        again = Uploader([*files, other]).run(session)
    assert again == Upload(3, large.size + 100, present_files=2, sent_files=1, sent_bytes=100)


def test_progress_counts_the_bytes_up_to_the_last(connect, make_file):
    file = make_file(2 * CHUNK + 17)
    told = []
    with connect() as session:
        Uploader([file], lambda *counts: told.append(counts)).run(session)
    sizes = [CHUNK, 2 * CHUNK, file.size]
    assert told == [(size, file.size) for size in sizes]


def test_an_upload_goes_on_where_the_link_was_cut(connect, make_file):
    small, large = make_file(1000, seed=1), make_file(3 * CHUNK + 5)
    uploader = Uploader([small, large], lambda done, _: done > CHUNK and cut())
    with connect() as session:
        cut = session.cut
        with pytest.raises(LinkCut):
            uploader.run(session)
    begun = uploader.result
    assert (begun.present_files, begun.sent_files) == (0, 1)
    assert 0 < begun.sent_bytes < small.size + large.size
    resumed = Uploader([small, large])
    with connect() as session:
        resumed.run(session)
        assert Uploader([small, large]).run(session).sent_files == 0
    assert resumed.result.sent_bytes == small.size + large.size - begun.sent_bytes
    assert (resumed.result.present_files, resumed.result.sent_files) == (1, 1)


def test_one_uploader_counts_what_all_of_its_sessions_sent(connect, make_file):
    file = make_file(3 * CHUNK)
    told = []

    def tell(done, total):
        told.append((done, total))
        if len(told) == 1:
            session.cut()

    uploader = Uploader([file], tell)
    with connect() as session, pytest.raises(LinkCut):
        uploader.run(session)
    with connect() as session:
        assert uploader.run(session) == Upload(1, file.size, 0, 1, file.size)
    assert told[-1] == (file.size, file.size)


def test_a_file_that_is_not_what_it_says_is_not_kept(connect, make_file):
    file = make_file(5000)
    right = file.path.read_bytes()
    file.path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with connect() as session:
        with pytest.raises(Damaged, match="SHA-256"):
            Uploader([file]).run(session)
        file.path.write_bytes(right)
        assert Uploader([file]).run(session) == Upload(1, 5000, 0, 1, 5000)


def test_a_file_that_has_shrunk_is_told(connect, make_file):
    file = make_file(5000)
    file.path.write_bytes(b"short")
    with connect() as session, pytest.raises(BundleError, match="ends before its 5000 bytes"):
        Uploader([file]).run(session)


def test_a_file_over_the_device_s_limit_is_refused_before_it_is_sent(connect, make_file):
    file = make_file(CHUNK + 1)
    uploader = Uploader([file])
    with connect("--upload-mib", "1") as session, pytest.raises(TooLarge, match="limit of 1 MiB"):
        uploader.run(session)
    assert uploader.result is None
