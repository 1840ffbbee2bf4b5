"""The links that let type checkers find edgeweave.X in ./X."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "link_sources.py"


def link(root: Path, *folders: str) -> dict[str, Path]:
    """Write a setup.cfg that maps the folders, run the script, and read the links it made."""
    lines = [f"    edgeweave.{folder} = {folder}" for folder in folders]
    (root / "setup.cfg").write_text("\n".join(["[options]", "package_dir =", *lines, ""]))
    (root / "scripts").mkdir(exist_ok=True)
    script = shutil.copy(SCRIPT, root / "scripts")
    subprocess.run([sys.executable, script], check=True)
    return {path.name: path.resolve() for path in (root / ".links" / "edgeweave").iterdir()}


def test_each_mapped_folder_gets_a_link(tmp_path: Path) -> None:
    expected = {name: tmp_path / name for name in ("compiler", "runtime")}
    assert link(tmp_path, "compiler", "runtime") == expected


def test_link_of_a_removed_package_goes_and_a_wrong_one_is_mended(tmp_path: Path) -> None:
    link(tmp_path, "compiler", "runtime")
    wrong = tmp_path / ".links" / "edgeweave" / "compiler"
    wrong.unlink()
    wrong.symlink_to(tmp_path / "elsewhere")
    assert link(tmp_path, "compiler") == {"compiler": tmp_path / "compiler"}
