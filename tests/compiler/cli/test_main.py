"""What holds for every verb: exit statuses, messages, streams, lazy imports."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeweave.compiler.cli.errors import ExitStatus, exit_status
from edgeweave.compiler.cli.program import VERBS
from edgeweave.compiler.errors import CompileError, ModelError, VerificationError
from edgeweave.partition.errors import PartitionError
from edgeweave.runtime.errors import (
    BundleError,
    EdgeweaveError,
    InputError,
    RuntimeFault,
    StageFailure,
)
from edgeweave.targets.errors import BuildError, TargetError

CALL = "import sys; from edgeweave.compiler.cli import main; sys.exit(main())"
HEAVY = {"tvm", "onnx", "onnxruntime", "ortools", "numpy", "rich", "onnx_ir", "google", "networkx"}


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["boards"],
        ["boards", "rk3588"],
        ["plan", "--help"],
        ["rules", "-h"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys; from edgeweave.compiler.cli import main; status = main(sys.argv[1:]); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr); "
        "sys.exit(status)"
    )
    done = run_python(code, *arguments)
    assert done.returncode == 0
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_help_names_every_verb_and_every_status(edgeweave):
    said = edgeweave("--help")
    assert said.status == 0
    for verb in VERBS:
        assert f"  {verb}  " in said.out.replace("   ", "  ")
    for status in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert any(line.split()[:1] == [str(status)] for line in said.out.splitlines())


def test_version_is_that_of_the_distribution(edgeweave):
    from importlib.metadata import version

    assert edgeweave("--version").out == f"edgeweave {version('edgeweave')}\n"


@pytest.mark.parametrize("arguments", [[], ["knit"], ["plan"], ["rules", "--loud"]])
def test_wrong_usage_has_status_2_and_an_empty_stdout(edgeweave, arguments):
    said = edgeweave(*arguments)
    assert (said.status, said.out) == (2, "")
    assert "Usage: edgeweave" in said.err


@pytest.mark.parametrize(
    ("family", "status"),
    [
        (TargetError, 3),
        (BuildError, 6),
        (PartitionError, 4),
        (RuntimeFault, 5),
        (BundleError, 5),
        (InputError, 5),
        (StageFailure, 5),
        (CompileError, 6),
        (ModelError, 6),
        (VerificationError, 7),
        (EdgeweaveError, 1),
    ],
)
def test_each_family_of_errors_has_its_status(family, status):
    assert exit_status(family("subject", "reason")) == status


def break_rules(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr("edgeweave.targets.registry.backend_names", fail)


def test_a_bug_is_one_line_with_what_to_do_next(edgeweave, monkeypatch):
    break_rules(monkeypatch, KeyError("first\nsecond"))
    said = edgeweave("rules")
    assert said.status == 1
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("internal error: KeyError: ")
    assert "--traceback" in said.err


@pytest.mark.parametrize("arguments", [["--traceback", "rules"], ["rules", "--traceback"]])
def test_traceback_shows_where_it_happened(edgeweave, monkeypatch, arguments):
    break_rules(monkeypatch, TargetError("the backend", "is lost"))
    said = edgeweave(*arguments)
    assert said.status == 3
    assert "Traceback (most recent call last)" in said.err
    assert said.err.splitlines()[-1] == "error: the backend: is lost"


def test_a_user_error_is_subject_reason_and_next_step_on_one_line(edgeweave, monkeypatch):
    break_rules(monkeypatch, TargetError("the backend", "is lost", "Look again"))
    said = edgeweave("rules")
    assert (said.status, said.out) == (3, "")
    assert said.err == "error: the backend: is lost. Look again\n"


def test_a_full_disk_is_no_bug(edgeweave, monkeypatch):
    break_rules(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/some/file"))
    said = edgeweave("rules")
    assert said.status == ExitStatus.COMPILE
    assert said.err.startswith("error: /some/file: cannot be written (No space left on device)")


def test_an_output_that_cannot_be_written_is_told():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", CALL, "boards"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert done.stderr.splitlines() == [
        "error: an output: cannot be written (No space left on device). "
        "Free some space, or set TMPDIR"
    ]


def test_a_reader_that_leaves_early_gets_no_complaint():
    with subprocess.Popen(
        [sys.executable, "-c", CALL, "boards", "rk3588"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


NOISY = """
import os, sys, warnings, logging
from edgeweave.targets import registry
def noisy():
    os.write(1, b"raw to stdout")
    os.write(2, b"raw to stderr")
    logging.getLogger("library").warning("logged")
    warnings.warn("a library's warning", UserWarning)
    warnings.warn_explicit("invalid value encountered in cast", RuntimeWarning,
                           "f.py", 1, "edgeweave.runtime.compare")
    warnings.warn_explicit("our own\\nnote", RuntimeWarning, "f.py", 1, "edgeweave.targets.cache")
    return ("cpu",)
registry.backend_names = noisy
from edgeweave.compiler.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_what_libraries_print_is_dropped_and_our_warnings_are_notes():
    done = run_python(NOISY, "rules", "--json")
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert done.stderr == "note: our own note\n"


def test_quiet_leaves_notes_out():
    done = run_python(NOISY, "-q", "rules")
    assert (done.returncode, done.stderr) == (0, "")


def test_verbose_shows_what_libraries_print():
    done = run_python(NOISY, "rules", "-v")
    assert done.returncode == 0
    assert "raw to stdout" in done.stdout
    for text in ("raw to stderr", "logged", "a library's warning"):
        assert text in done.stderr


HANGING = """
import sys, time
from edgeweave.targets import registry
def hang():
    print("ready", file=sys.stderr, flush=True)
    try:
        time.sleep(60)
    finally:
        print("cleaned up", file=sys.stderr, flush=True)
registry.backend_names = hang
from edgeweave.compiler.cli import main
sys.exit(main(["rules"]))
"""


@pytest.mark.parametrize(
    ("number", "status", "last"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "cleaned up")],
)
def test_a_signal_ends_the_command_after_it_cleaned_up(number, status, last):
    with subprocess.Popen(
        [sys.executable, "-c", HANGING],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(number)
        rest = process.stderr.read().splitlines()
    assert process.returncode == status
    assert rest[0] == "cleaned up"
    assert rest[-1] == last
