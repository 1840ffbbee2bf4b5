"""Which version of the optional packages is installed, and what to install where one is not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# how it is called in a sentence -> (the distribution, its module)
_PACKAGES = {"Vela": ("ethos-u-vela", "ethosu"), "LiteRT": ("ai-edge-litert", "ai_edge_litert")}


def missing() -> str:
    """What has to be installed before a stage can be built, as a sentence; "" when nothing is."""
    names = [name for name, package in _PACKAGES.items() if not _is_there(*package)]
    if not names:
        return ""
    verb = "is" if len(names) == 1 else "are"
    return f"{' and '.join(names)} {verb} not installed: pip install 'edgeweave[ethos-u]'"


def vela_version() -> str:
    """The version of Vela, or "not installed"."""
    return _version(*_PACKAGES["Vela"])


def litert_version() -> str:
    """The version of LiteRT, or "not installed"."""
    return _version(*_PACKAGES["LiteRT"])


def _version(distribution: str, module: str) -> str:
    return version(distribution) if _is_there(distribution, module) else "not installed"


def _is_there(distribution: str, module: str) -> bool:
    try:
        version(distribution)
        return find_spec(module) is not None
    except (PackageNotFoundError, ValueError):  # ValueError: a module without a spec
        return False
