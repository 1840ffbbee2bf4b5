"""Compiling the device program: what makes it anew, and what the compiler's errors become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeweave.targets.kit.architectures import find_architecture, host_architecture
from edgeweave.targets.kit.elf import read_machine
from edgeweave.targets.kit.errors import KitError
from edgeweave.targets.kit.wheels import FFI_NAME, find_libraries
from edgeweave.targets.kit.zig import build_program, daemon_sources

Write = Callable[..., list[Path]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write sources, given as name and text."""

    def write(**texts: str) -> list[Path]:
        for name, text in texts.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return sorted(p for p in tmp_path.iterdir() if p.suffix in (".cc", ".h"))

    return write


@pytest.fixture
def build(tmp_path: Path, kept_cache: Path, say):
    """Compile sources for this machine; results are the test's own, zig's cache is kept."""
    (kept_cache / "device" / "zig").mkdir(parents=True, exist_ok=True)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "zig").symlink_to(kept_cache / "device" / "zig")
    arch = host_architecture()
    ffi = find_libraries(arch, tmp_path, say).paths[FFI_NAME]

    def build(sources: list[Path], ffi_library: Path = ffi):
        return build_program(arch, ffi_library, cache, say, sources)

    return build


def test_the_sources_of_the_device_program_are_installed() -> None:
    names = {path.name for path in daemon_sources()}
    assert any(name.endswith(".cc") for name in names)
    assert any(name.endswith(".h") for name in names)


@pytest.mark.slow
def test_a_program_is_compiled_once_for_equal_sources(write: Write, build, told_of) -> None:
    program = build(write(main_cc='#include "a.h"\nint main() { return A; }\n', a_h="#define A 7"))
    assert read_machine(program.path) == host_architecture().machine
    assert len(told_of) == 1
    assert "compiling the device program" in told_of[0]
    again = build(write())
    assert (again, len(told_of)) == (program, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("int main() { return x; }\n", "main.cc:1:21: error: use of undeclared identifier 'x'"),
        ("int main() { int x; return 0; }\n", "unused variable 'x'"),  # a warning is an error
        ("int f(); int main() { return f(); }\n", "undefined symbol"),
    ],
)
@pytest.mark.slow
def test_what_the_compiler_refuses_is_quoted_in_one_line(text, said, write, build) -> None:
    with pytest.raises(KitError, match="cannot be compiled") as caught:
        build(write(main_cc=text))
    assert said in caught.value.reason
    assert "\n" not in str(caught.value)
    assert str(host_architecture()) in caught.value.subject


def test_a_build_that_fails_leaves_no_program(write: Write, build, tmp_path: Path) -> None:
    with pytest.raises(KitError):
        build(write(main_cc="no C++"))
    assert list((tmp_path / "cache" / "programs").iterdir()) == []


def digests(monkeypatch: pytest.MonkeyPatch, build, sources: list[Path], **options) -> str:
    """The digest alone: the compiler is left out."""

    def compiled(_subject: str, command, _zig_cache: Path) -> None:
        command[-1].write_bytes(Path("/proc/self/exe").read_bytes()[:64])

    monkeypatch.setattr("edgeweave.targets.kit.zig._compile", compiled)
    return str(build(sources, **options).digest)


def test_sources_headers_library_versions_and_flags_make_another_program(
    write: Write, build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [digests(monkeypatch, build, write(a_cc="1", b_h="2"))]
    assert digests(monkeypatch, build, write(a_cc="1", b_h="2")) == seen[0]
    seen.append(digests(monkeypatch, build, write(a_cc="2", b_h="2")))
    seen.append(digests(monkeypatch, build, write(b_h="1")))
    seen.append(digests(monkeypatch, build, write(c_h="")))
    library = tmp_path / FFI_NAME
    library.write_bytes(b"other")
    seen.append(digests(monkeypatch, build, write(), ffi_library=library))
    monkeypatch.setattr("edgeweave.targets.kit.zig._FLAGS", ("-O0",))
    seen.append(digests(monkeypatch, build, write()))
    monkeypatch.setattr("edgeweave.targets.kit.zig.version", lambda _name: "9")
    seen.append(digests(monkeypatch, build, write()))
    assert len(set(seen)) == 7


def test_a_program_for_another_machine_than_asked_is_not_kept(
    write: Write, kept_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say
) -> None:
    other = "x86-64" if host_architecture().name == "aarch64" else "aarch64"

    def compiled(_subject: str, command, _zig_cache: Path) -> None:
        command[-1].write_bytes(Path("/proc/self/exe").read_bytes()[:64])

    monkeypatch.setattr("edgeweave.targets.kit.zig._compile", compiled)
    library = tmp_path / FFI_NAME
    library.touch()
    with pytest.raises(KitError, match="zig made it for"):
        build_program(find_architecture(other), library, tmp_path, say, write(a_cc=""))


@pytest.mark.parametrize(
    ("module", "subject", "reason"),
    [
        ("ziglang", "the device program", "needs ziglang"),
        ("tvm_ffi", "TVM's headers", "are not installed"),
    ],
)
def test_what_is_not_installed_is_named(
    module, subject, reason, write, build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "edgeweave.targets.kit.zig.find_spec",
        lambda name: None if name == module else find_spec(name),
    )
    with pytest.raises(KitError, match=reason) as caught:
        build(write(a_cc="int main() {}"))
    assert caught.value.subject.startswith(subject)
    assert "pip install" in caught.value.next_step
