"""The development sessions. They run in the environment that nox is started from.

``scripts/setup dev`` makes that environment, ``scripts/test`` runs lint, types and tests in it.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def dev(session: nox.Session) -> None:
    """Install edgeweave and its tools, and the hooks that run before each commit."""
    session.run("python", "-m", "pip", "install", "--editable", ".[dev]")
    session.run("python", "scripts/link_sources.py")
    session.run("pre-commit", "install")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, and which package may import which."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("lint-imports", "--no-cache", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the packages, the scripts and this file."""
    session.run("python", "scripts/link_sources.py")
    session.run("mypy")
    session.run("mypy", "scripts", "noxfile.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Run pytest; arguments after ``--`` are passed on."""
    session.run("pytest", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the release files into dist/; the wheel is built from the sdist alone."""
    session.run("python", "-m", "build")
    session.run("pytest", "tests/test_wheel.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated pages anew."""
    session.run("python", "scripts/gen_docs.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Run every benchmark; the tables of the README come from here."""
    for script in sorted(Path("scripts").glob("bench_*.py")):
        session.run("python", str(script), *session.posargs)
