"""Other programs: their words, their deadline, and nothing of them left behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgeweave.targets.kit.command import run, told
from edgeweave.targets.kit.errors import KitError


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_output_status_environment_and_folder(tmp_path: Path) -> None:
    script = 'echo "$WORD in $(pwd -P)"; echo no >&2; exit 3'
    done = run(["sh", "-c", script], "it", 30, {"WORD": "here"}, tmp_path)
    assert (done.returncode, done.stderr) == (3, "no\n")
    assert done.stdout == f"here in {tmp_path.resolve()}\n"


def test_a_program_that_is_not_there_is_an_error_about_the_subject() -> None:
    with pytest.raises(KitError, match="no-such-program cannot be started") as caught:
        run(["no-such-program"], "the kit", 30)
    assert caught.value.subject == "the kit"


def test_a_program_that_takes_too_long_is_killed_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(KitError, match="was not done after 1 s and was stopped"):
        run(["sh", "-c", script], "it", 1)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def test_bytes_that_are_no_text_do_not_matter() -> None:
    assert run(["printf", r"\377a"], "it", 30).stdout == "\N{REPLACEMENT CHARACTER}a"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("note\n x:1: error: a\nerror: b\nerror: c\nerror: d", "x:1: error: a; error: b; error: c"),
        ("something\nelse happened\n\n", "else happened"),
        ("\n", "it said nothing"),
        ("error: " + "x" * 1000, "error: " + "x" * 293),
    ],
)  # fmt: skip
def test_the_lines_that_tell_most_are_quoted(text: str, shown: str) -> None:
    assert told(text, ("error:",)) == shown
