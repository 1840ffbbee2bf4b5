"""The release files: what is in the wheel that is built from the sdist, and that it imports."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPORT_ALL = """
import importlib, pathlib, sys
site = pathlib.Path(sys.argv[1])
for path in sorted((site / "edgeweave").rglob("*.py")):
    name = ".".join(path.relative_to(site).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__) == path, module.__file__
"""

pytestmark = pytest.mark.slow


def package_folders() -> list[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["package_dir"].split("\n")
    return [line.partition("=")[2].strip() for line in lines if line.strip()]


def source_files() -> Iterator[str]:
    for folder in package_folders():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what the build reads."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in package_folders():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tree / "dist")]
    result = subprocess.run([*build, str(tree)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = (tree / "dist").glob("*.whl")
    return built


def test_wheel_holds_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"edgeweave/{name}" for name in source_files()}
    assert any(name.startswith("edgeweave/targets/boards/") for name in names)


def test_every_module_of_the_installed_wheel_imports_on_its_own_path(
    wheel: Path, tmp_path: Path
) -> None:
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([sys.executable, "-m", "pip", *install, tmp_path, wheel], check=True)
    # -P: the folder python is started in is not on the path, as for a user elsewhere
    result = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_ALL, tmp_path],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
