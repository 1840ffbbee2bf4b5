"""The folders, setup.cfg, pyproject.toml and the checkers' configuration say the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400


def read_setup_cfg() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def read_lines(section: str, key: str) -> list[str]:
    return [line.strip() for line in read_setup_cfg()[section][key].split("\n") if line.strip()]


def read_mapping(section: str, key: str) -> dict[str, str]:
    pairs = (line.split("=") for line in read_lines(section, key))
    return {name.strip(): value.strip() for name, value in pairs}


def top_level_names() -> set[str]:
    return {name.removeprefix("edgeweave.") for name in read_mapping("options", "package_dir")}


def package_modules() -> list[Path]:
    return [path for name in sorted(top_level_names()) for path in (ROOT / name).rglob("*.py")]


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


def test_every_folder_with_modules_is_listed_as_a_package() -> None:
    folders = {path.parent.relative_to(ROOT) for path in package_modules()}
    found = {"edgeweave." + ".".join(folder.parts) for folder in folders}
    assert set(read_lines("options", "packages")) == found


def test_every_package_folder_has_an_init_module() -> None:
    assert not [p for p in package_modules() if not (p.parent / "__init__.py").is_file()]


def test_every_mapped_folder_is_a_package_of_the_same_name_at_the_top_level() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert top_level_names() == found - {"tests"}
    mapping = read_mapping("options", "package_dir")
    assert all(name == f"edgeweave.{folder}" for name, folder in mapping.items())


def test_every_top_level_package_ships_its_type_marker() -> None:
    data = read_setup_cfg()["options.package_data"]
    for name in top_level_names():
        assert (ROOT / name / "py.typed").is_file()
        assert "py.typed" in data[f"edgeweave.{name}"]


def test_ruff_bans_the_bare_import_of_each_package_and_of_nothing_else() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    banned = ruff["flake8-tidy-imports"]["banned-api"]
    assert {name: entry["msg"] for name, entry in banned.items()} == {
        name: f"import edgeweave.{name}" for name in top_level_names()
    }


def test_ruff_reports_a_bare_import_in_either_form() -> None:
    names = sorted(top_level_names())
    lines = [f"import {name}.errors\nfrom {name} import errors" for name in names]
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--output-format"]
    result = subprocess.run(
        [*command, "concise", "--stdin-filename", "compiler/x.py", "-"],
        input="\n".join(lines), capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert result.stdout.count("TID251") == 2 * len(names)


def test_import_linter_knows_every_package_layer_and_backend() -> None:
    names = {f"edgeweave.{name}" for name in top_level_names()}
    assert set(read_lines("importlinter", "root_packages")) == names
    layers = read_setup_cfg()["importlinter:contract:layers"]["layers"]
    assert set(re.findall(r"[\w.]+", layers)) == names
    backends = {f"edgeweave.targets.{p.parent.name}" for p in ROOT.glob("targets/*/__init__.py")}
    assert set(read_lines("importlinter:contract:backends", "modules")) == backends


def test_every_import_of_the_packages_is_a_declared_dependency() -> None:
    config = read_setup_cfg()
    wanted = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    declared = {
        re.split(r"[<>=\[]", line.strip())[0].replace("_", "-").lower()
        for text in wanted
        for line in text.split("\n")
    }
    owners = packages_distributions()
    ours = sys.stdlib_module_names | {"edgeweave"}
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in package_modules()
        for name in set(imported_names(path)) - ours
        if not {o.replace("_", "-").lower() for o in owners.get(name, [name])} & declared
    }
    assert not undeclared


@pytest.mark.slow
def test_mypy_checks_every_module_of_the_packages() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "link_sources.py"], check=True)
    result = subprocess.run(
        [sys.executable, "-m", "mypy"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    checked = re.search(r"(\d+) source files?", result.stdout)
    assert checked is not None, result.stdout + result.stderr
    # folders without modules of their own (edgeweave, targets/boards) count as well
    assert int(checked[1]) >= len(package_modules())


def test_no_python_file_is_longer_than_the_limit() -> None:
    folders = [ROOT / name for name in (*top_level_names(), "scripts", "tests")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in files}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}


def test_every_module_and_package_has_a_docstring() -> None:
    paths = [*package_modules(), *ROOT.glob("scripts/*.py")]
    bare = [p for p in paths if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert not bare
