"""Which of a machine's package sources are its distribution's own archive.

Other people's sources seldom have packages of other architectures, and none is needed here. The
formats are those of sources.list(5): one line for each source (``*.list``), or deb822
(``*.sources``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_OWN_SUITE_ENDS = ("", "-updates", "-security", "/updates")
_DEBIAN_SUITES = ("stable", "testing", "unstable", "sid")
# Ubuntu's main servers have x86 alone; all other architectures are on this one.
UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports"
_ON_UBUNTU_MAIN = ("amd64", "i386")


@dataclass(frozen=True)
class Distribution:
    """What /etc/os-release says: ``debian`` and ``bookworm``, for example."""

    name: str
    codename: str


@dataclass(frozen=True)
class Source:
    """A package archive. ``options`` are its further fields, in deb822's spelling."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)

    def stanza(self) -> str:
        """The source in deb822's form, for packages of any architecture."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
            *(f"{name}: {value}" for name, value in self.options.items()),
        ]
        return "\n".join(lines) + "\n"


def read_distribution(os_release: str) -> Distribution:
    """From the text of an os-release file; what it does not say is empty."""
    pairs = (line.partition("=") for line in os_release.splitlines() if "=" in line)
    values = {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
    return Distribution(values.get("ID", ""), values.get("VERSION_CODENAME", ""))


def read_sources(folder: Path) -> list[Source]:
    """The sources of binary packages below an /etc/apt; files that cannot be read are left out."""
    found: list[Source] = []
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if path.suffix not in (".list", ".sources"):
            continue
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found += parse_lines(text) if path.suffix == ".list" else parse_stanzas(text)
    return found


def parse_lines(text: str) -> Iterator[Source]:
    """Sources of the form ``deb [option=value ...] uri suite component...``."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match is None:
            continue
        given = dict(pair.split("=", 1) for pair in (match[1] or "").split() if "=" in pair)
        options = {"Signed-By": given["signed-by"]} if "signed-by" in given else {}
        yield Source((match[2],), (match[3],), tuple(match[4].split()), options)


def parse_stanzas(text: str) -> Iterator[Source]:
    """Sources of deb822's form; architectures that they are limited to are left out."""
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        words = {name: tuple(value.split()) for name, value in fields.items()}
        if "deb" not in words.get("types", ()) or fields.get("enabled", "yes").lower() == "no":
            continue
        options = {"Signed-By": fields["signed-by"]} if fields.get("signed-by") else {}
        if words.get("uris") and words.get("suites") and words.get("components"):
            yield Source(words["uris"], words["suites"], words["components"], options)


def own_sources(
    sources: Sequence[Source], distribution: Distribution, architecture: str
) -> list[Source]:
    """Those of the distribution's own archive, where it keeps packages of ``architecture``.

    A source is the distribution's when its suite is the release and it has a component ``main``,
    and when the key it names, if any, is the distribution's.
    """
    releases = (distribution.codename, *(_DEBIAN_SUITES if distribution.name == "debian" else ()))
    suites = {release + end for release in releases if release for end in _OWN_SUITE_ENDS}
    own = []
    for source in sources:
        kept = tuple(suite for suite in source.suites if suite in suites)
        key = source.options.get("Signed-By", "")
        if not kept or "main" not in source.components:
            continue
        if key and f"{distribution.name}-archive" not in key:
            continue
        uris = tuple(_where(uri, distribution, architecture) for uri in source.uris)
        own.append(Source(uris, kept, source.components, source.options))
    return own


def _where(uri: str, distribution: Distribution, architecture: str) -> str:
    on_main = architecture in _ON_UBUNTU_MAIN
    if distribution.name == "ubuntu" and not on_main and "ubuntu.com" in uri:
        return UBUNTU_PORTS
    return uri
