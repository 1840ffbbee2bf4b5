"""The generated pages: their form, and that the ones in docs/ are current."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gen_docs.py"


@pytest.fixture(scope="module")
def gen_docs() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@click.group()
def tool() -> None:
    """Weave things."""


@tool.group()
def logs() -> None:
    """Look after records."""


@logs.command()
@click.option("--deep", is_flag=True, help="Read every record.")
def check(deep: bool) -> None:
    """Find damaged records."""


@tool.command(hidden=True)
def secret() -> None:
    """Not for the page."""


def test_generated_pages_are_current() -> None:
    command = [sys.executable, SCRIPT, "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_page_has_a_section_for_each_command_under_its_full_name(gen_docs: dict[str, Any]) -> None:
    page = "\n".join(gen_docs["command_sections"](tool, "tool"))
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert headings == ["## tool", "### tool logs", "#### tool logs check"]
    assert "Usage: tool logs check [OPTIONS]" in page
    assert "Read every record." in page
    assert "Not for the page" not in page


def test_rules_become_rows_whose_bars_are_escaped(gen_docs: dict[str, Any]) -> None:
    section = gen_docs["rule_section"]("cpu", [("cpu.rank", "Rank is 2 | 4.")])
    assert "| `cpu.rank` | Rank is 2 \\| 4. |" in section.splitlines()


def test_page_is_stale_when_missing_or_changed(gen_docs: dict[str, Any], tmp_path: Path) -> None:
    same, changed, missing = (tmp_path / name for name in ("same", "changed", "missing"))
    same.write_text("text")
    changed.write_text("text, edited")
    pages = dict.fromkeys((same, changed, missing), "text")
    assert gen_docs["stale_pages"](pages) == [changed, missing]
