"""The pages written by hand: maps, links and examples that must stay true."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeweave.targets.board_schema import parse_board

ROOT = Path(__file__).parents[1]


def tracked_folders() -> set[str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which folders are the project's is not known")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {line.partition("/")[0] for line in listing.splitlines() if "/" in line}
    return {folder for folder in folders if not folder.startswith(".")}


def test_readme_maps_every_folder_and_no_other() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    section = text.partition("## Folders")[2].partition("\n## ")[0]
    assert set(re.findall(r"^(\w+)/ ", section, re.MULTILINE)) == tracked_folders()


def test_links_of_the_pages_lead_to_files() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_worked_example_of_a_board_is_a_valid_board() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    board = parse_board(example, "my-board.toml")
    assert [engine.name for engine in board.engines] == ["a55"]
    assert not board.dram_gb_s.is_sourced
