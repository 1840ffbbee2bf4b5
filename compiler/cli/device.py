"""``edgeweave device``: making devices, and starting them here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeweave.compiler.cli.device_list import command as list_command
from edgeweave.compiler.cli.settings import Settings, Verb, settings_of, switches, verb

if TYPE_CHECKING:
    from edgeweave.targets.kit.build import Kit
    from edgeweave.targets.kit.launch import Launch

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Service(Verb):
    """A verb that runs until it is stopped; it has no result to print as JSON."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params = [option for option in self.params if option.name != "as_json"]


command = click.Group(
    "device",
    params=[*switches()],
    short_help="Make devices, and start them here.",
    help="Make what a board needs to be a device, and start devices on this machine.",
)
command.add_command(list_command)


@command.add_command
@verb("build", "Make the folder that is copied to a device.")
@click.option(
    "--arch",
    "architecture",
    required=True,
    metavar="ARCH",
    help="The device's processor: aarch64, x86-64; armv7 or riscv64 with --libraries.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR|FILE.tar",
    help="Where to write it; an older kit there is replaced.",
)
@click.option(
    "--libraries",
    type=_FOLDER,
    metavar="DIR",
    help="libtvm_ffi.so and libtvm_runtime.so for ARCH, built from the releases of TVM that are "
    "installed here. Needed where TVM publishes none.",
)
@click.pass_context
def build(
    context: click.Context,
    architecture: str,
    output: Path,
    libraries: Path | None,
    as_json: bool,
) -> None:
    """Make the folder that is copied to a device and started there.

    It holds the program edgeweave-device, which is compiled here, and TVM's runtime. The device
    needs the C and C++ libraries and nothing else. The first build for an architecture takes
    minutes and downloads TVM's wheel for it (100 MB); all is kept in the cache.
    """
    from edgeweave.targets.kit.architectures import find_architecture
    from edgeweave.targets.kit.build import build_kit
    from edgeweave.targets.kit.storage import device_cache

    found = find_architecture(architecture)
    with _telling(settings_of(context)) as say:
        kit = build_kit(found, output, device_cache(), say, libraries)
    _print_kit(kit, as_json)


def _print_kit(kit: Kit, as_json: bool) -> None:
    from edgeweave.compiler.cli.text import size

    if as_json:
        data = {
            "path": str(kit.path),
            "arch": kit.architecture,
            "versions": kit.versions,
            "bytes": kit.nbytes,
        }
        click.echo(json.dumps(data, indent=1))
        return
    click.echo(f"{kit.path}: a device for {kit.architecture}, {size(kit.nbytes)}")
    click.echo(f"  {', '.join(f'{name} {version}' for name, version in kit.versions.items())}")
    click.echo("  copy it to the device and start edgeweave-device there; README in it says how")


def _daemon_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The device program's own options; the function gets them as ``daemon``."""
    for option in reversed(_DAEMON):
        function = option(function)
    return function


_DAEMON = (
    click.option("--listen", metavar="ADDR", help="Where to listen; 127.0.0.1 when not given."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        help="9090 when not given; 0 takes a free one, which is printed.",
    ),
    click.option("--advertise", metavar="HOST", help="The name that the tracker tells others."),
    click.option("--tracker", metavar="HOST:PORT", help="Register at this tracker; needs --key."),
    click.option("--key", help="What the tracker lists the device under."),
    click.option("--name", help="The device's own name; the host's when not given."),
    click.option(
        "--secret-file",
        type=click.Path(exists=True, dir_okay=False),
        help="Serve only those who know what is in this file.",
    ),
    click.option(
        "--state", type=click.Path(file_okay=False), metavar="DIR", help="Where uploads are kept."
    ),
    click.option(
        "--max-session",
        type=click.IntRange(min=1),
        metavar="SECONDS",
        help="The longest session; 3600 when not given.",
    ),
    click.option("--upload-mib", type=click.IntRange(min=1), help="The largest file; 512."),
    click.option("--store-mib", type=click.IntRange(min=1), help="All uploads together; 2048."),
)


def _words(daemon: dict[str, Any]) -> tuple[str, ...]:
    """The options that were given, as the device program takes them."""
    if daemon["tracker"] is not None and daemon["key"] is None:
        raise click.UsageError("--tracker needs --key, the name that the device is listed under")
    given = {name: value for name, value in daemon.items() if value is not None}
    return tuple(
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    )


@command.add_command
@click.command("emulate", cls=Service, short_help="Start an emulated device on this machine.")
@click.option("--arch", "architecture", required=True, metavar="ARCH", help="aarch64, for example.")
@click.option(
    "--cpu", metavar="NAME", help="The CPU, as qemu calls it: cortex-a53. qemu's own if not given."
)
@click.option("--kit", type=_FOLDER, metavar="DIR", help="A kit from device build.")
@click.option(
    "--root",
    type=_FOLDER,
    metavar="DIR",
    help="A folder with the libraries of such a system; Debian's packages if not given.",
)
@click.option(
    "--libraries", type=_FOLDER, metavar="DIR", help="As in device build, when no --kit is given."
)
@_daemon_options
@click.pass_context
def emulate(
    context: click.Context,
    /,
    architecture: str,
    cpu: str | None,
    kit: Path | None,
    root: Path | None,
    libraries: Path | None,
    **daemon: Any,
) -> None:
    """Start a device of another architecture under qemu, and serve until it is stopped.

    It executes what the board would, instruction by instruction, and a CPU that lacks an
    instruction ends the session that ran it. Its times say nothing about the board's: whoever
    measures on it gets figures that are called emulated.

    qemu is taken from PATH; that, the libraries and the kit are fetched where they are missing,
    and kept in the cache.
    """
    words = _words(daemon)
    from edgeweave.targets.kit.architectures import find_architecture
    from edgeweave.targets.kit.build import cached_kit
    from edgeweave.targets.kit.emulate import check_kit, find_emulator
    from edgeweave.targets.kit.storage import device_cache

    found = find_architecture(architecture)
    if kit is not None:
        check_kit(kit, found)
    with _telling(settings_of(context)) as say:
        cache = device_cache()
        emulator = find_emulator(found, cache, say, root)
        folder = kit or cached_kit(found, cache, say, libraries).path
        launch = emulator.launch(folder, words, cpu)
    _serve(context, launch)


@command.add_command
@click.command("serve", cls=Service, short_help="Start this machine as a device.")
@_daemon_options
@click.pass_context
def serve(context: click.Context, /, **daemon: Any) -> None:
    """Make this machine a device, and serve until it is stopped.

    For a workstation in a rack of devices. The kit for it is made in the cache.
    """
    words = _words(daemon)
    from edgeweave.targets.kit.architectures import host_architecture
    from edgeweave.targets.kit.build import cached_kit
    from edgeweave.targets.kit.launch import native_launch
    from edgeweave.targets.kit.storage import device_cache

    with _telling(settings_of(context)) as say:
        kit = cached_kit(host_architecture(), device_cache(), say)
    _serve(context, native_launch(kit.path, words))


def _serve(context: click.Context, launch: Launch) -> None:
    """Run the device program on our streams until it ends; an error where it failed."""
    from edgeweave.compiler.cli.errors import ExitStatus
    from edgeweave.targets.kit.errors import EmulationError
    from edgeweave.targets.kit.launch import ended_reason, run_in_foreground

    status = run_in_foreground(launch)
    if status == ExitStatus.USAGE:  # the program's too; it has said what is wrong
        context.exit(status)
    if status:
        raise EmulationError("the device", ended_reason(status), "Its last line above says why")


@contextmanager
def _telling(settings: Settings) -> Iterator[Callable[[str, str], None]]:
    """Narration on stderr: called with what is being done, and with what."""
    from edgeweave.compiler.cli.narrate import Narrator

    with Narrator(settings) as narrator:
        yield lambda phase, what: narrator(phase, 0, 1, what)
