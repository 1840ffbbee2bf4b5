"""The set-up script: when it makes an environment, when it installs, and what it says on failure.

The interpreter is a stand-in that logs its calls, so that nothing is downloaded.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup"
PYTHON = """#!/usr/bin/env bash
here=$(dirname "$0")
[[ " $* " != *" $(cat "$here/broken" 2>/dev/null || echo none) "* ]] || exit 1
echo "$*" >>"@LOG@"
if [[ $1 == -m && $2 == venv ]]; then
    rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
    [[ ! -e $here/broken ]] || cp "$here/broken" "$4/bin/"
fi
"""


class Checkout:
    """A checkout with the script and a stand-in for Python."""

    def __init__(self, root: Path) -> None:
        self.root = root / "checkout"
        self.python = root / "python3.11"
        self.log = root / "log"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPT, self.root / "scripts")
        for name in ("setup.cfg", "pyproject.toml"):
            (self.root / name).write_text("one\n")
        self.python.write_text(PYTHON.replace("@LOG@", str(self.log)))
        self.python.chmod(0o755)

    def break_call(self, argument: str) -> None:
        """Make Python exit 1 whenever it is called with the argument."""
        (self.python.parent / "broken").write_text(argument)

    def set_up(self, *arguments: str) -> tuple[int, str, str]:
        """Run the script: exit status, what it did (venv, install dev ...), and stderr."""
        self.log.write_text("")
        result = subprocess.run(
            [self.root / "scripts" / "setup", *arguments],
            env={"PATH": "/usr/bin:/bin", "PYTHON": str(self.python)},
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        calls = self.log.read_text().splitlines()
        done = [
            c.split()[-1] if "install" in c else "venv"
            for c in calls
            if "--clear" in c or "-qq" in c
        ]
        return result.returncode, " ".join(done), result.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_environment_is_made_and_filled_once(checkout: Checkout) -> None:
    assert checkout.set_up("dev")[:2] == (0, "venv .[dev]")
    assert checkout.set_up("dev") == (0, "", "")


def test_development_environment_serves_the_plain_one_but_not_the_reverse(
    checkout: Checkout,
) -> None:
    assert checkout.set_up()[1] == "venv ."
    assert checkout.set_up("dev")[1] == ".[dev]"
    assert checkout.set_up()[1] == ""


def test_changed_configuration_installs_again_into_the_same_environment(checkout: Checkout) -> None:
    checkout.set_up("dev")
    (checkout.root / "setup.cfg").write_text("two\n")
    assert checkout.set_up("dev")[1] == ".[dev]"


def test_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.set_up()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    assert checkout.set_up()[1] == "venv ."


def test_environment_without_pip_is_made_anew(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert checkout.set_up()[1] == "venv ."


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("-c", "Python 3.11 or newer"),
        ("venv", "apt install python3-venv"),
        ("install", "pip could not install edgeweave"),
    ],
)
def test_failing_step_ends_the_set_up_with_its_name_and_a_next_step(
    checkout: Checkout, call: str, message: str
) -> None:
    checkout.break_call(call)
    status, _, stderr = checkout.set_up()
    assert status == 1
    assert message in stderr


def test_failed_installation_is_tried_again(checkout: Checkout) -> None:
    checkout.break_call("install")
    checkout.set_up()
    (checkout.root / ".venv" / "bin" / "broken").unlink()
    assert checkout.set_up()[:2] == (0, ".")
