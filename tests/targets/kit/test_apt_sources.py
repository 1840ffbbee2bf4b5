"""Which package sources are the distribution's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeweave.targets.kit.apt_sources import (
    UBUNTU_PORTS,
    Distribution,
    Source,
    own_sources,
    parse_lines,
    parse_stanzas,
    read_distribution,
    read_sources,
)

BOOKWORM = Distribution("debian", "bookworm")
NOBLE = Distribution("ubuntu", "noble")
KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_the_distribution_is_read_with_and_without_quotes() -> None:
    text = 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_CODENAME="bookworm"\n# a comment\n'
    assert read_distribution(text) == BOOKWORM
    assert read_distribution("") == Distribution("", "")


def test_sources_of_one_line() -> None:
    text = f"""
# deb http://commented.out/debian bookworm main
deb http://deb.debian.org/debian bookworm main contrib  # the archive
deb-src http://deb.debian.org/debian bookworm main
 deb [arch=amd64 signed-by={KEY}] http://mirror/debian bookworm-updates main
deb cdrom:[Debian]/ flat/
"""
    assert list(parse_lines(text)) == [
        Source(("http://deb.debian.org/debian",), ("bookworm",), ("main", "contrib")),
        Source(("http://mirror/debian",), ("bookworm-updates",), ("main",), {"Signed-By": KEY}),
    ]


def test_sources_of_several_lines_with_comments_and_an_inline_key() -> None:
    text = f"""# a comment
Types: deb deb-src
# another
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Architectures: amd64
Signed-By: {KEY}

Types: deb
URIs: http://own/apt
Suites: stable
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb-src
URIs: http://sources/only
Suites: bookworm
Components: main

Types: deb
Enabled: no
URIs: http://switched/off
Suites: bookworm
Components: main

Types: deb
URIs: http://flat/
Suites: ./
"""
    first, second = parse_stanzas(text)
    assert first == Source(
        ("http://deb.debian.org/debian",),
        ("bookworm", "bookworm-updates"),
        ("main",),
        {"Signed-By": KEY},
    )
    assert second.options["Signed-By"].endswith("-----END PGP PUBLIC KEY BLOCK-----")


def test_a_source_that_is_written_is_read_as_the_same() -> None:
    source = Source(("http://a/x", "http://b/x"), ("s", "s-updates"), ("main",), {"Signed-By": KEY})
    assert list(parse_stanzas(source.stanza())) == [source]


@pytest.mark.parametrize(
    "source",
    [
        Source(("http://deb.debian.org/debian",), ("bookworm",), ("main",)),
        Source(("http://m/debian-security",), ("bookworm-security",), ("main",)),
        Source(("http://m/debian",), ("stable",), ("contrib", "main"), {"Signed-By": KEY}),
    ],
)
def test_the_distributions_own_sources_are_kept(source: Source) -> None:
    assert own_sources([source], BOOKWORM, "arm64") == [source]


@pytest.mark.parametrize(
    "source",
    [
        Source(("https://download.docker.com/linux/debian",), ("bookworm",), ("stable",)),
        Source(("http://pg/apt",), ("bookworm-pgdg",), ("main",)),
        Source(("http://cloud/apt",), ("cloud-sdk-bookworm",), ("main",)),
        Source(("http://x/apt",), ("bookworm",), ("main",), {"Signed-By": "/k/hashicorp.gpg"}),
        Source(("http://deb.debian.org/debian",), ("trixie",), ("main",)),
    ],
)
def test_other_peoples_sources_and_other_releases_are_left_out(source: Source) -> None:
    assert own_sources([source], BOOKWORM, "arm64") == []


def test_of_several_suites_only_the_releases_own_are_kept() -> None:
    both = Source(("http://m/debian",), ("bookworm", "bookworm-backports"), ("main",))
    assert [s.suites for s in own_sources([both], BOOKWORM, "arm64")] == [("bookworm",)]


def test_ubuntus_other_architectures_are_on_its_other_server() -> None:
    source = Source(("http://archive.ubuntu.com/ubuntu/",), ("noble",), ("main", "universe"))
    (ports,) = own_sources([source], NOBLE, "arm64")
    assert ports.uris == (UBUNTU_PORTS,)
    assert own_sources([source], NOBLE, "amd64") == [source]


def test_a_mirror_of_ubuntu_is_trusted_to_have_all() -> None:
    source = Source(("http://mirror.example/ubuntu",), ("noble",), ("main",))
    assert own_sources([source], NOBLE, "arm64") == [source]


def test_both_kinds_of_files_are_read_and_no_others(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://a x main\n")
    (parts / "b.list").write_text("deb http://b x main\n")
    (parts / "c.sources").write_text("Types: deb\nURIs: http://c\nSuites: x\nComponents: main\n")
    (parts / "d.list.disabled").write_text("deb http://d x main\n")
    (parts / "e.list").write_bytes(b"deb http://\xff x main\n")
    assert [source.uris for source in read_sources(tmp_path)] == [
        ("http://a",),
        ("http://b",),
        ("http://c",),
    ]


def test_a_machine_without_apt_has_no_sources(tmp_path: Path) -> None:
    assert read_sources(tmp_path / "apt") == []
