"""The whole flow: model → regions → costs → plan → stages → artifacts → bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from edgeweave.compiler.checks import Checks
from edgeweave.compiler.choose import Choice
from edgeweave.compiler.dump import Dump
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.errors import BudgetMissedError
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.model import Model
from edgeweave.compiler.pack import pack
from edgeweave.compiler.regions import Regions, find_regions
from edgeweave.compiler.settle import build_settled
from edgeweave.compiler.stages import bundle_content
from edgeweave.partition.constraints import Constraints, constrain
from edgeweave.partition.costs import CostTable
from edgeweave.partition.evaluate import Schedule
from edgeweave.partition.plan import Plan, Request
from edgeweave.partition.prediction.cost_model import cost_table
from edgeweave.partition.several.coschedule import coschedule
from edgeweave.partition.several.joint import ModelRequest
from edgeweave.partition.several.joint_plan import JointPlan
from edgeweave.partition.solve import solve
from edgeweave.targets.board import Board
from edgeweave.targets.cache import open_cache
from edgeweave.targets.host import detect_host

# A stage built as a whole has been measured down to a third of the sum of its regions.
_SUM_OVER_STAGE = 4.0

# (phase, steps done, steps in all, what is being done)
Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Job:
    """What the user asks for. ``skip`` names rewrites of the front end to leave out.

    ``board`` None is this machine. ``dump`` is a folder for model, regions, costs and plan.
    """

    model: Path | onnx.ModelProto
    board: Board | None = None
    request: Request = field(default_factory=Request)
    constraints: Constraints = field(default_factory=Constraints)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    dump: Path | None = None


@dataclass(frozen=True)
class Costed:
    """A model's regions with what they cost on a board."""

    model: Model
    regions: Regions
    board: Board
    table: CostTable
    checks: Checks


@dataclass(frozen=True)
class Planned:
    """A plan with all it was made from."""

    model: Model
    regions: Regions
    board: Board
    table: CostTable
    plan: Plan
    checks: Checks


@dataclass(frozen=True)
class Compiled:
    """A bundle on disk, the plan behind it, and how each stage was built.

    ``schedule`` holds the predicted numbers after the built stages were timed.
    """

    planned: Planned
    choices: tuple[Choice, ...]
    schedule: Schedule
    bundle: Path


def silent(_phase: str, _done: int, _total: int, _what: str) -> None:
    """Progress that nobody watches."""


def plan_model(job: Job, progress: Progress = silent, *, check: bool = False) -> Planned:
    """Read a model and place it on the board.

    With ``check`` every region that has no verdict yet is built and compared with ONNX Runtime
    here, and timed when the board is this machine; without, known verdicts and costs are used.
    """
    costed = cost_regions(job, progress, check=check)
    table, board = costed.table, costed.board
    progress("plan", 0, 1, f"{len(table.regions)} regions on {len(table.slots)} slots")
    plan = Dump(job.dump).plan(solve(table, job.request, board.name))
    return Planned(costed.model, costed.regions, board, table, plan, costed.checks)


def cost_regions(job: Job, progress: Progress = silent, *, check: bool = False) -> Costed:
    """Read a model and cost its regions on the board; as ``plan_model`` but for the plan."""
    dump = Dump(job.dump)
    progress("import", 0, 1, str(job.model) if isinstance(job.model, Path) else "model")
    model = dump.model(load_model(job.model, job.shapes, job.skip))
    regions = dump.regions(find_regions(model))
    cache = open_cache()
    checks = Checks(detect_host(cache), cache, job.board)
    board = checks.board
    if check:
        missing = checks.missing(regions, timed=board.is_host)
        if board.is_host:
            missing += checks.missing(empty_call(), timed=True)
        checks.run(missing, lambda done, total, what: progress("check", done, total, what))
    table = cost_table(regions.graph, board, checks.measured, checks.refuse, checks.call_s)
    return Costed(model, regions, board, dump.table(constrain(table, job.constraints)), checks)


def compile_model(
    job: Job, destination: Path, progress: Progress = silent, *, reference: bool = True
) -> Compiled:
    """Plan a model, build every stage and pack the bundle.

    ``reference`` puts the original model into the bundle, for verification. Raises the errors of
    each step; CompileError with the plan's shortfall when no plan meets the request.
    """
    planned = plan_model(job, progress, check=True)
    return build_bundle(planned, destination, progress, reference=reference)


def build_bundle(
    planned: Planned, destination: Path, progress: Progress = silent, *, reference: bool = True
) -> Compiled:
    """Build every stage of a plan, or of a better one, and pack the bundle.

    On this machine the stages are timed as wholes, and the plan is made again from these times.
    Raises like ``compile_model``.
    """
    if not _may_meet(planned):
        raise BudgetMissedError(planned)
    with tempfile.TemporaryDirectory(prefix="edgeweave-") as folder:
        planned, built = build_settled(planned, Path(folder), progress)
        if not planned.plan.meets:
            raise BudgetMissedError(planned)
        progress("pack", 0, 1, str(destination))
        content = bundle_content(planned.model, planned.board, planned.plan, built, reference)
        bundle = pack(content, destination)
    return Compiled(planned, built.choices, built.schedule, bundle)


def _may_meet(planned: Planned) -> bool:
    """Whether building is worth while: what is summed over regions is less in a built stage."""
    plan = planned.plan
    if plan.meets or not planned.board.is_host:
        return plan.meets
    pairs = (
        (plan.latency_s, plan.request.budget_s),
        (plan.interval_s, plan.request.max_interval_s),
    )
    return all(limit is None or value <= _SUM_OVER_STAGE * limit for value, limit in pairs)


def plan_models(
    jobs: Mapping[str, Job], progress: Progress = silent, *, check: bool = False
) -> tuple[JointPlan, tuple[Costed, ...]]:
    """Read several models and place them together on one board, each with its own limits.

    ``jobs`` are by the models' names and of one board; of their requests the budget and the largest
    interval count, and of the first the stages and the time. ``check`` is as in ``plan_model``.
    """
    costed = tuple(cost_regions(job, progress, check=check) for job in jobs.values())
    models = [
        ModelRequest(name, own.table, job.request.budget_s, _rate(job.request.max_interval_s))
        for (name, job), own in zip(jobs.items(), costed, strict=True)
    ]
    first = next(iter(jobs.values())).request
    progress("plan", 0, 1, f"{len(models)} models on {len(models[0].table.slots)} slots")
    plan = coschedule(models, costed[0].board.name, first.max_stages, first.time_limit_s)
    return plan, costed


def _rate(interval_s: float | None) -> float | None:
    return None if interval_s is None else 1 / interval_s
