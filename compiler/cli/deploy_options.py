"""The options of ``edgeweave deploy``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgeweave.compiler.cli.options import Tolerance, takes
from edgeweave.compiler.cli.reach import reach_options

_BENCH = (20, 3)  # frames and warm-up with --bench ...
_RUN = (4, 0)  # ... and without


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
    skip_feature_check: bool

    @property
    def counts(self) -> tuple[int, int]:
        """Frames to time, and those before them."""
        frames, warmup = _BENCH if self.bench else _RUN
        return (
            frames if self.frames is None else self.frames,
            warmup if self.warmup is None else self.warmup,
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
    click.option(
        "--skip-feature-check",
        is_flag=True,
        help="Run even where the CPU lacks what the code uses; it may end with SIGILL.",
    ),
)

device_options = reach_options(
    rpc="A device; with --key, the tracker that devices are registered with.",
    devices="With --key: how many devices to use, or all that are free.",
    timeout="Most time of a call that runs frames; raise it for slow devices.",
    required=True,
)
task_options = takes(_TASK, Task, "task")
