"""The options of ``edgeweave deploy``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgeweave.compiler.cli.options import Duration, Tolerance, takes

_BENCH = (20, 3)  # frames and warm-up with --bench ...
_RUN = (4, 0)  # ... and without


class Devices(click.ParamType[int | None]):
    """How many devices: a number, or None for all that are free."""

    name = "N|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Parse the text; a usage error names examples."""
        if value == "all":
            return None
        text = str(value)
        if not text.isdecimal() or int(text) < 1:
            self.fail(f"{value!r} is not a number of devices; write 2, or all", param, ctx)
        return int(text)


@dataclass(frozen=True)
class Place:
    """Which devices, and how they are reached."""

    rpc: str
    key: str | None
    devices: int | None
    secret_file: Path | None
    wait: float
    timeout: float
    skip_feature_check: bool


@dataclass(frozen=True)
class Task:
    """What is run there, and what is shown of it."""

    inputs: tuple[str, ...]
    frames: int | None
    warmup: int | None
    bench: bool
    verify: bool
    atol: float
    rtol: float
    seed: int
    outputs: Path | None

    @property
    def counts(self) -> tuple[int, int]:
        """Frames to time, and those before them."""
        frames, warmup = _BENCH if self.bench else _RUN
        return (
            frames if self.frames is None else self.frames,
            warmup if self.warmup is None else self.warmup,
        )


_PLACE = (
    click.option(
        "--rpc",
        required=True,
        metavar="HOST:PORT",
        help="A device; with --key, the tracker that devices are registered with.",
    ),
    click.option("--key", metavar="KEY", help="The key of the devices at the tracker."),
    click.option(
        "--devices",
        type=Devices(),
        default="all",
        show_default=True,
        help="With --key: how many devices to use, or all that are free.",
    ),
    click.option(
        "--secret-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The secret that the devices were started with.",
    ),
    click.option(
        "--wait",
        type=Duration(),
        default="30s",
        show_default=True,
        help="How long to wait for a device that is busy.",
    ),
    click.option(
        "--timeout",
        type=Duration(),
        default="60s",
        show_default=True,
        help="Most time of a call that runs frames; raise it for slow devices.",
    ),
    click.option(
        "--skip-feature-check",
        is_flag=True,
        help="Run even where the CPU lacks what the code uses; it may end with SIGILL.",
    ),
)
_TASK = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=FILE.npy|FILE.npz",
        help="An input's value, or all of them; may be repeated. Without it, inputs are random.",
    ),
    click.option(
        "--frames",
        type=click.IntRange(min=1),
        help="Frames to time.  [default: 20 with --bench, else 4]",
    ),
    click.option(
        "--warmup",
        type=click.IntRange(min=0),
        help="Frames that run untimed before.  [default: 3 with --bench, else 0]",
    ),
    click.option("--bench", is_flag=True, help="Show percentiles, of frames and of each stage."),
    click.option("--verify", is_flag=True, help="Compare with ONNX Runtime on the original model."),
    click.option("--atol", type=Tolerance(), default=1e-3, show_default=True, help="For --verify."),
    click.option("--rtol", type=Tolerance(), default=1e-3, show_default=True, help="For --verify."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the random inputs."),
    click.option(
        "--outputs",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.npz",
        help="Write the outputs of the first frame, from the first device that ran, to this file.",
    ),
)

place_options = takes(_PLACE, Place, "place")
task_options = takes(_TASK, Task, "task")
