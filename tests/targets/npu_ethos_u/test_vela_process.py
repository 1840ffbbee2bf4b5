"""The process that Vela runs in: crashes, time-outs and ends, each said in words."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeweave.targets.npu_ethos_u import vela_process
from edgeweave.targets.npu_ethos_u.accelerator import read_accelerator
from edgeweave.targets.npu_ethos_u.errors import VelaProcessError, VelaRejectionError
from edgeweave.targets.npu_ethos_u.vela_process import VelaProcess

OPTIONS = "\n[compiler]\noutput_format=TFLite\n[scheduler]\narena_size_limit=393216\n"


@pytest.fixture
def request_u65(npu):
    accelerator = read_accelerator(npu("u65"))
    return {
        "architecture": accelerator.architecture,
        "system": accelerator.system_text(),
        "options": OPTIONS,
    }


@pytest.fixture
def own():
    """A process of this test's own."""
    process = VelaProcess()
    yield process
    process.close()


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid):
    deadline = time.monotonic() + 20
    while is_there(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_there(pid)


def test_one_process_answers_many_requests(own, request_u65, conv_blob):
    first = own.compile(conv_blob, request_u65, "s0")
    pid = own._process.pid
    assert own.compile(conv_blob, request_u65, "s0") == first
    assert own._process.pid == pid
    assert first.report["npu_ops"] == 1
    assert first.model[4:8] == b"TFL3"


def test_a_crash_names_the_signal_and_the_next_request_works(own, request_u65, conv_blob):
    with pytest.raises(VelaProcessError, match=r"s0: Vela crashed: .*SIGSEGV.*Failed to load"):
        own.compile(b"no model at all" * 20, request_u65, "s0")
    assert own.compile(conv_blob, request_u65, "s0").report["npu_ops"] == 1


def test_a_model_that_was_cut_off_is_a_crash_too(own, request_u65, conv_blob):
    with pytest.raises(VelaProcessError, match="SIGSEGV"):
        own.compile(conv_blob[:1000], request_u65, "s0")


def test_a_time_out_stops_the_process_and_says_how_long_it_took(request_u65, conv_blob):
    own = VelaProcess(timeout_s=0.001)
    with pytest.raises(VelaProcessError, match=r"s0: Vela was not done with it after 0\.001 s"):
        own.compile(conv_blob, request_u65, "s0")
    assert own._process is None


def test_an_error_of_velas_own_keeps_its_words_and_the_process(own, request_u65, conv_blob):
    wrong = {**request_u65, "system": "[architecture]\nmacs=256\ncores=1\n"}
    with pytest.raises(VelaRejectionError, match=r"s0: Vela refuses it \(.+\)"):
        own.compile(conv_blob, wrong, "s0")
    pid = own._process.pid
    own.compile(conv_blob, request_u65, "s0")
    assert own._process.pid == pid


def test_a_process_that_ended_meanwhile_is_replaced(own, request_u65, conv_blob):
    own.compile(conv_blob, request_u65, "s0")
    own._process.kill()
    own._process.wait()
    assert own.compile(conv_blob, request_u65, "s0").report["npu_ops"] == 1


def test_a_process_that_cannot_import_vela_says_so(own, request_u65, monkeypatch, tmp_path):
    (tmp_path / "ethosu").mkdir()
    (tmp_path / "ethosu" / "__init__.py").write_text(
        "raise ImportError('built for another Python')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(VelaProcessError, match=r"status 1; it said: ImportError: built for ano"):
        own.compile(b"", request_u65, "s0")


def test_a_process_that_cannot_be_started_is_an_error(own, request_u65, monkeypatch):
    monkeypatch.setattr(vela_process.sys, "executable", "/nowhere/python")
    with pytest.raises(VelaProcessError, match="for Vela cannot be started"):
        own.compile(b"", request_u65, "s0")
    assert own._process is None


def test_a_folder_that_is_gone_is_an_error(own, request_u65, conv_blob):
    own.compile(conv_blob, request_u65, "s0")
    own._folder.cleanup()
    with pytest.raises(VelaProcessError, match=r"cannot be written \(No such file"):
        own.compile(conv_blob, request_u65, "s0")
    own.compile(conv_blob, request_u65, "s0")


def test_what_vela_prints_is_kept_apart_from_its_answers(own, request_u65, float_blob):
    answer = own.compile(float_blob, request_u65, "s0")
    assert "Reason: Operation has tensor with unsupported DataType Float32" in answer.said
    assert answer.report["cpu_ops"] == 1
    assert own.compile(float_blob, request_u65, "s0").said == answer.said


def test_an_interrupt_leaves_no_answer_behind(own, request_u65, conv_blob, monkeypatch):
    own.compile(conv_blob, request_u65, "s0")
    monkeypatch.setattr(own._connection, "poll", _interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        own.compile(conv_blob, request_u65, "s0")
    assert own._process is None
    assert own.compile(conv_blob, request_u65, "s0").report["npu_ops"] == 1


def _interrupted(_timeout):
    raise KeyboardInterrupt


def test_threads_share_it(own, request_u65, conv_blob, float_blob):
    with ThreadPoolExecutor(4) as pool:
        asked = [conv_blob, float_blob] * 4
        found = list(pool.map(lambda blob: own.compile(blob, request_u65, "s0"), asked))
    assert [answer.report["cpu_ops"] for answer in found] == [0, 1] * 4


def test_closing_ends_it_and_removes_its_files(own, request_u65, conv_blob):
    own.compile(conv_blob, request_u65, "s0")
    pid, folder = own._process.pid, Path(own._folder.name)
    own.close()
    assert not is_there(pid)
    assert not folder.exists()
    own.close()


# Prints the number of Vela's process and a pipe, which the process reads where it is busy.
_PARENT = """
import os, sys, time
from pathlib import Path
from edgeweave.targets.npu_ethos_u.vela_process import VelaProcess
process = VelaProcess()
process._start("s0")
source = str(Path(process._folder.name, "pipe"))
os.mkfifo(source)
print(process._process.pid, source, flush=True)
if sys.argv[1] == "busy":
    request = {"architecture": "", "system": "", "options": "", "source": source, "target": ""}
    process._ask(request, "s0", 0)
elif sys.argv[1] == "idle":
    time.sleep(600)
"""


@pytest.mark.parametrize("state", ["busy", "idle", "exit"])
def test_it_ends_with_the_process_that_started_it(state, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, state],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with parent, ExitStack() as stack:
        worker, pipe = parent.stdout.readline().split()
        if state == "busy":
            stack.callback(os.close, open_when_read(pipe))
        if state != "exit":
            parent.send_signal(signal.SIGKILL)
        parent.wait(20)
        assert ends(worker)
    assert state != "exit" or list(tmp_path.iterdir()) == []


def open_when_read(pipe):
    """The pipe's writing end, as soon as somebody reads; nothing is ever written."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_interrupt_of_the_terminal_is_left_to_the_parent(own, request_u65, conv_blob):
    own.compile(conv_blob, request_u65, "s0")
    os.kill(own._process.pid, signal.SIGINT)
    assert own.compile(conv_blob, request_u65, "s0").report["npu_ops"] == 1
