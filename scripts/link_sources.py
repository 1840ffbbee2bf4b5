"""Link every top-level package into .links/edgeweave, where type checkers look for edgeweave.X."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def package_folders() -> dict[str, str]:
    """The folder of each top-level package, by import name, as setup.cfg maps them."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["package_dir"].split("\n")
    pairs = (line.split("=") for line in lines if line.strip())
    return {name.strip(): folder.strip() for name, folder in pairs}


def link_sources() -> None:
    """Make .links hold one link per package, and nothing else."""
    links = ROOT / ".links" / "edgeweave"
    links.mkdir(parents=True, exist_ok=True)
    wanted = {name.removeprefix("edgeweave."): folder for name, folder in package_folders().items()}
    for stale in set(links.iterdir()) - {links / name for name in wanted}:
        stale.unlink()
    for name, folder in wanted.items():
        link = links / name
        target = Path("../..") / folder
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


if __name__ == "__main__":
    link_sources()
