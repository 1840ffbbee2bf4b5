"""The table of Vela's constraints: current, and usable without Vela."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from edgeweave.targets.npu_ethos_u.installed import vela_version
from edgeweave.targets.npu_ethos_u.operators import (
    OPERATORS,
    constraints_version,
    vela_operators,
)

SCRIPT = Path(__file__).parents[3] / "scripts" / "gen_ethos_u_constraints.py"


def test_the_table_is_what_the_script_makes_of_the_installed_vela():
    command = [sys.executable, SCRIPT, "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_stale_table_is_named_and_then_written(tmp_path, capsys):
    functions = runpy.run_path(str(SCRIPT))
    scope = functions["main"].__globals__
    scope["ROOT"], scope["PATH"] = tmp_path, tmp_path / "constraints.json"
    assert functions["main"](["--check"]) == 1
    assert "constraints.json is not current. Run: python scripts/gen_" in capsys.readouterr().out
    assert not scope["PATH"].exists()
    assert functions["main"]([]) == 0
    assert functions["main"](["--check"]) == 0


@pytest.mark.parametrize("architecture", ["EthosU55", "EthosU65", "EthosU85"])
def test_the_table_holds_the_words_of_vela(architecture):
    from ethosu import regor

    found = regor.tflite_operator_constraints(architecture)
    assert vela_operators(architecture) == {name: tuple(words) for name, words in found.items()}


def test_the_table_names_its_version_of_vela():
    assert constraints_version() == vela_version()


def test_every_tflite_operator_of_the_operators_is_known_to_vela():
    wanted = {name for names in OPERATORS.values() for name in names}
    assert wanted <= set(vela_operators("EthosU85"))
    assert "GATHER" in set(vela_operators("EthosU85")) - set(vela_operators("EthosU55"))
