"""How good plans are, how good they are proven to be, and how long that takes.

Prints three Markdown tables: published placement graphs with the interval of their best split into
one stage per engine, generated graphs of thousands of regions, and every bundled board with every
model at hand, our plans beside the baselines. Each row is planned in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convert_placement import convert
from generate_table import network

from edgeweave.partition.costs import CostTable
from edgeweave.partition.files.table_json import read_table
from edgeweave.partition.plan import Objective, Plan, Request
from edgeweave.partition.solve import solve

ROOT = Path(__file__).resolve().parent.parent
GRAPHS = ROOT.parent / "shared/data/partition"
MODELS = ROOT.parent / "shared/models"
# Best contiguous splits found by the exact dynamic program of the graphs' authors, in ms.
KNOWN = {
    "throughput-LayerGraphs-bert24_inference": 17.7899,
    "throughput-LayerGraphs-resnet50_inference": 33.7747,
    "throughput-LayerGraphs-gnmt_inference": 32.9107,
    "throughput-OperatorGraphs-bert_l-3_inference": 27.9186,
}
GENERATED = (
    (2000, "mixed", Objective.LATENCY, 60.0),
    (2000, "mixed", Objective.INTERVAL, 60.0),
    (2000, "branches", Objective.LATENCY, 60.0),
    (2000, "branches", Objective.INTERVAL, 60.0),
    (10_000, "mixed", Objective.LATENCY, 60.0),
    (10_000, "mixed", Objective.INTERVAL, 60.0),
)
SLACK = 1 + 1e-9


@dataclass(frozen=True)
class Result:
    """A plan with what making it took: seconds by the wall clock, and the peak of memory."""

    plan: Plan
    memory_mib: float

    @property
    def state(self) -> str:
        """Value, bound and gap, in ms."""
        proof = self.plan.certificate
        gap = "0 (proven)" if proof.optimal else f"{proof.gap:.2%}"
        return f"{proof.value * 1e3:.4f} | {proof.bound * 1e3:.4f} | {gap}"

    @property
    def effort(self) -> str:
        """How it was found, in which time and memory."""
        proof = self.plan.certificate
        return f"{proof.solver} | {proof.wall_s:.1f} | {self.memory_mib:.0f}"


def apart(work: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def plan_table(table: CostTable, request: Request, name: str) -> Result:
    plan = solve(table, request, name)
    return Result(plan, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def plan_graph(path: Path, seconds: float) -> tuple[int, Result]:
    """One stage per engine on a graph in the placement format."""
    table = read_table(convert(json.loads(path.read_text())))
    request = Request(Objective.INTERVAL, max_stages=len(table.engines), time_limit_s=seconds)
    return len(table.regions), plan_table(table, request, path.stem)


def plan_generated(regions: int, shape: str, objective: Objective, seconds: float) -> Result:
    table = network(regions, seed=1, shape=shape)
    return plan_table(table, Request(objective, time_limit_s=seconds), f"{shape} {regions}")


def graph_rows(paths: Sequence[Path], seconds: float) -> Iterator[str]:
    yield "| graph | regions | interval, ms | bound, ms | gap | known, ms | found by | s | MiB |"
    yield "|---|---:|---:|---:|---:|---:|---|---:|---:|"
    for path in paths:
        regions, result = apart(plan_graph, path, seconds)
        known = KNOWN.get(path.stem)
        reference = "" if known is None else f"{known:.4f}"
        yield f"| {path.stem} | {regions} | {result.state} | {reference} | {result.effort} |"
        value = result.plan.certificate.value * 1e3
        if known is not None and (abs(value - known) > 5e-5 or not result.plan.certificate.optimal):
            sys.exit(f"{path.stem}: {value:.4f} ms is not the proven best of {known:.4f} ms")


def generated_rows() -> Iterator[str]:
    yield "| regions | shape | objective | value, ms | bound, ms | gap | found by | s | MiB |"
    yield "|---:|---|---|---:|---:|---:|---|---:|---:|"
    for regions, shape, objective, seconds in GENERATED:
        result = apart(plan_generated, regions, shape, objective, seconds)
        yield f"| {regions} | {shape} | {objective.value} | {result.state} | {result.effort} |"


def models() -> list[Path]:
    """The light models inside the onnx package, and the trained ones where they are at hand."""
    import onnx

    light = Path(onnx.__path__[0]) / "backend/test/data/light"
    return [*sorted(light.glob("light_*.onnx")), *sorted(MODELS.glob("*.onnx"))]


def plan_model(path: Path, seconds: float) -> list[tuple[str, Plan]]:
    """The plans of a model for every bundled board and both objectives."""
    from edgeweave.compiler.pipeline import Job
    from edgeweave.compiler.pipeline import plan_model as plan_job
    from edgeweave.targets.board_file import bundled_boards, load_board

    job = Job(path, shapes=SHAPES.get(path.stem, {}))
    found = []
    for name in bundled_boards():
        board = load_board(name)
        for objective in (Objective.LATENCY, Objective.INTERVAL):
            request = Request(objective, time_limit_s=seconds)
            found.append((name, plan_job(replace(job, board=board, request=request)).plan))
    return found


SHAPES: dict[str, dict[str, tuple[int, ...]]] = {}


def board_rows(paths: Sequence[Path], seconds: float) -> Iterator[str]:
    names = ("best single engine", "greedy by priority", "HEFT", "chain DP")
    yield f"| model | board | objective | ours, ms | bound, ms | {' | '.join(names)} |"
    yield "|---|---|---|---:|---:|" + "---:|" * len(names)
    for path in paths:
        for board, plan in apart(plan_model, path, seconds):
            yield _board_row(path.stem, board, plan)


def _board_row(model: str, board: str, plan: Plan) -> str:
    proof, cells = plan.certificate, []
    for baseline in plan.baselines:
        latency = proof.objective is Objective.LATENCY
        value = baseline.latency_s if latency else baseline.interval_s
        cells.append("none" if value is None else f"{value * 1e3:.3f} ({value / proof.value:.2f}x)")
        if value is not None and proof.value > value * SLACK:
            sys.exit(f"{model} on {board}: {baseline.name} is better than the plan")
    start = f"| {model} | {board} | {proof.objective.value} | {proof.value * 1e3:.3f}"
    return f"{start} | {proof.bound * 1e3:.3f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="*", type=Path, help="files in the placement format")
    parser.add_argument("--only", choices=("graphs", "generated", "boards"))
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds for a graph")
    parser.add_argument("--board-limit", type=float, default=5.0, help="seconds for a board's plan")
    options = parser.parse_args()
    graphs = options.graphs or sorted(GRAPHS.glob("*.json"))
    if not graphs:
        print(f"no placement graphs: {GRAPHS} is not there", file=sys.stderr)
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "graphs": lambda: graph_rows(graphs, options.time_limit),
        "generated": generated_rows,
        "boards": lambda: board_rows(models(), options.board_limit),
    }
    for name, rows in parts.items():
        if options.only in (None, name) and not (options.graphs and name != "graphs"):
            print(f"\n{name}\n")
            for row in rows():
                print(row, flush=True)


if __name__ == "__main__":
    main()
