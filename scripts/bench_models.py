"""The README's table: per model the plan for this machine, predicted and measured, and its peer.

Runs scripts/bench_pipeline.py on each model and prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

LIGHT = Path(onnx.__path__[0]) / "backend/test/data/light"
MODELS = [LIGHT / f"light_{name}.onnx" for name in ("squeezenet", "resnet50", "densenet121")]
HEAD = (
    "| model | regions | stages | latency p50, measured (predicted), ms "
    "| interval, measured (predicted), ms | pipelined / sequential (bound) "
    "| / ONNX Runtime, 1 thread | / ONNX Runtime, 2 threads |"
)


def bench(model: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """What the benchmark says of one model; SystemExit with its message when it fails."""
    script = Path(__file__).with_name("bench_pipeline.py")
    command = [sys.executable, str(script), str(model), "--json", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{model}: the benchmark ended with status {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(found: Mapping[str, Any]) -> str:
    """One line of the table."""

    def times(values: Mapping[str, float]) -> str:
        return f"{values['median']:.1f} ({values['predicted']:.1f})"

    def ratio(values: Mapping[str, float]) -> str:
        return f"{values['median']:.2f} ({values['lowest']:.2f} … {values['highest']:.2f})"

    cells = (
        f"`{found['model']}`",
        str(found["regions"]),
        ", ".join(found["stages"]),
        times(found["latency_ms"]),
        times(found["interval_ms"]),
        f"{found['gain']['median']:.2f} ({found['bound']['median']:.2f})",
        *(ratio(found["onnxruntime"][threads]) for threads in ("1", "2")),
    )
    return f"| {' | '.join(cells)} |"


def table(models: Sequence[Path], arguments: Sequence[str]) -> Iterator[str]:
    yield HEAD
    yield "|---" * HEAD.count(" |") + "|"
    for model in models:
        yield row(bench(model, arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, default=MODELS)
    parser.add_argument("--frames", default="20")
    parser.add_argument("--rounds", default="7")
    parser.add_argument("--stages", default="4")
    options = parser.parse_args()
    arguments = ["--frames", options.frames, "--rounds", options.rounds, "--stages", options.stages]
    for line in table(options.models, arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
