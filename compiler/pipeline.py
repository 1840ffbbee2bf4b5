"""The whole flow: model → regions → costs → plan → stages → artifacts → bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgeweave.compiler.check_region import CheckTask
from edgeweave.compiler.checks import Checks
from edgeweave.compiler.choose import Choice
from edgeweave.compiler.dump import Dump
from edgeweave.compiler.empty_call import empty_call
from edgeweave.compiler.errors import BudgetMissedError
from edgeweave.compiler.estimates import plan_from_estimates
from edgeweave.compiler.frontend import load_model
from edgeweave.compiler.model import Model
from edgeweave.compiler.pack import pack
from edgeweave.compiler.quantize import quantized_model
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

if TYPE_CHECKING:
    from edgeweave.compiler.quantize.report import QuantizeReport
    from edgeweave.compiler.quantize.settings import QuantizeSettings

# A stage built as a whole has been measured down to a third of the sum of its regions.
_SUM_OVER_STAGE = 4.0

# (phase, steps done, steps in all, what is being done)
Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Job:
    """What the user asks for. ``skip`` names rewrites of the front end to leave out.

    ``quantize`` None leaves the model's precision as it is. ``board`` None is this machine.
    ``dump`` is a folder for model, regions, costs and plan.
    """

    model: Path | onnx.ModelProto
    board: Board | None = None
    request: Request = field(default_factory=Request)
    constraints: Constraints = field(default_factory=Constraints)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    dump: Path | None = None
    quantize: QuantizeSettings | None = None


@dataclass(frozen=True)
class Costed:
    """A model's regions with what they cost on a board.

    ``quantized`` says how the model came to its precision; None for a model that is as it was.
    """

    model: Model
    regions: Regions
    board: Board
    table: CostTable
    checks: Checks
    quantized: QuantizeReport | None = None


@dataclass(frozen=True)
class Planned:
    """A plan with all it was made from.

    ``estimated`` are its numbers by what vendors' tools state for whole stages, where they do.
    """

    model: Model
    regions: Regions
    board: Board
    table: CostTable
    plan: Plan
    checks: Checks
    quantized: QuantizeReport | None = None
    estimated: Schedule | None = None


@dataclass(frozen=True)
class Compiled:
    """A bundle on disk, the plan behind it, and how each stage was built.

    ``schedule`` holds the predicted numbers after the built stages were timed. ``unfinished`` are
    the stages that a vendor's own tool still has to build, each with the file that it makes.
    """

    planned: Planned
    choices: tuple[Choice, ...]
    schedule: Schedule
    bundle: Path
    unfinished: tuple[tuple[str, str], ...] = ()


def silent(_phase: str, _done: int, _total: int, _what: str) -> None:
    """Progress that nobody watches."""


def plan_model(job: Job, progress: Progress = silent, *, check: bool = False) -> Planned:
    """Read a model and place it on the board.

    With ``check`` every region that has no verdict yet is built and compared with ONNX Runtime
    here, and timed when the board is this machine; without, known verdicts and costs are used.
    Regions and stages for a vendor's compiler are always given to it, where it is installed.
    """
    is_host = job.board is None or job.board.is_host
    costed = cost_regions(job, progress, check=check and is_host)
    planned = _place(costed, job, progress)
    while check and not is_host:
        # nothing is timed here for another board, so only what is placed has to be checked
        placed = [placement.slot for placement in planned.plan.placements]
        tasks = costed.checks.placed_tasks(costed.regions, placed)
        if not tasks:
            break
        _check(costed.checks, tasks, progress)
        table = Dump(job.dump).table(_costs(costed.regions, costed.checks, job))
        costed = replace(costed, table=table)
        planned = _place(costed, job, progress)
    Dump(job.dump).plan(planned.plan)
    return planned


def _place(costed: Costed, job: Job, progress: Progress) -> Planned:
    table, board = costed.table, costed.board
    progress("plan", 0, 1, f"{len(table.regions)} regions on {len(table.slots)} slots")
    plan = solve(table, job.request, board.name)
    planned = Planned(
        costed.model, costed.regions, board, table, plan, costed.checks, costed.quantized
    )
    return plan_from_estimates(planned, progress)


def _check(checks: Checks, tasks: Sequence[CheckTask], progress: Progress) -> None:
    checks.run(tasks, lambda done, total, what: progress("check", done, total, what))


def _costs(regions: Regions, checks: Checks, job: Job) -> CostTable:
    table = cost_table(
        regions.graph,
        checks.board,
        checks.measured,
        checks.refuse,
        checks.call_s,
        checks.estimate,
    )
    return constrain(table, job.constraints)


def cost_regions(job: Job, progress: Progress = silent, *, check: bool = False) -> Costed:
    """Read a model and cost its regions on the board; as ``plan_model`` but for the plan."""
    dump = Dump(job.dump)
    progress("import", 0, 1, str(job.model) if isinstance(job.model, Path) else "model")
    model = load_model(job.model, job.shapes, job.skip)
    quantized = None
    if job.quantize is not None:
        model, quantized = quantized_model(model, job.quantize, job.skip, progress)
    dump.model(model)
    regions = dump.regions(find_regions(model))
    cache = open_cache()
    checks = Checks(detect_host(cache), cache, job.board)
    board = checks.board
    tasks = checks.vendor_tasks(regions)
    if check:
        tasks += checks.missing(regions, timed=board.is_host)
        if board.is_host:
            tasks += checks.missing(empty_call(), timed=True)
    _check(checks, tasks, progress)
    table = dump.table(_costs(regions, checks, job))
    return Costed(model, regions, board, table, checks, quantized)


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
        content = bundle_content(
            planned.model, planned.board, planned.plan, built, reference, planned.quantized
        )
        bundle = pack(content, destination)
    unfinished = tuple(
        (stage.name, str(stage.artifact.options.get("produces", "")))
        for stage in built.stages
        if stage.artifact.options.get("done") is False
    )
    return Compiled(planned, built.choices, built.schedule, bundle, unfinished)


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
