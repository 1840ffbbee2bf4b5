"""Plans to choose from when models share a board, and what is proven on the way to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from time import perf_counter

from edgeweave.partition.costs import Cost, CostTable
from edgeweave.partition.errors import PartitionError
from edgeweave.partition.evaluate import Assignment, evaluate
from edgeweave.partition.heuristics.baselines import baselines, best_single_engine, valid
from edgeweave.partition.plan import Certificate, Objective, Plan, Request
from edgeweave.partition.problem import Problem
from edgeweave.partition.search.fractional import share_work
from edgeweave.partition.several.joint import Board, Candidate
from edgeweave.partition.solve import solve
from edgeweave.targets.backend import Refusal

ALONE = "each planned alone"
ONE_ENGINE = "all on one engine"
MOST_ENGINES = 6
"""Boards with more engines are not searched by each set of them."""

_KEPT_FREE = Refusal("joint.engine", "this search leaves the engine to other models")
_LEAST_SOLVE_S = 0.05


@dataclass
class Pool:
    """The plans found so far for each model, by what they are on paper.

    ``rows`` are other methods' choices for all models: their name and one plan of each model.
    ``latency`` and ``interval`` are what is proven for each model with the board to itself.
    """

    board: Board
    max_stages: int
    plans: list[list[Candidate]]
    rows: dict[str, list[Candidate]] = field(default_factory=dict)
    latency: list[Certificate] = field(default_factory=list)
    interval: list[Certificate] = field(default_factory=list)

    def add(self, m: int, assignment: Assignment, origin: str) -> Candidate:
        """The candidate of a placement; the one that is known where it is not new."""
        schedule = evaluate(self.board.models[m].table, assignment)
        for known in self.plans[m]:
            if known.schedule.assignment == schedule.assignment:
                return known
        candidate = self.board.candidate(m, schedule, origin)
        self.plans[m].append(candidate)
        return candidate

    def solve(self, m: int, table: CostTable, request: Request, origin: str) -> Candidate | None:
        """Add the best plan of a table that is a model's own but for costs; None without one."""
        try:
            plan = solve(table, request, "")
        except PartitionError:
            return None
        return self.add(m, assignment_of(table, plan), origin)


def assignment_of(table: CostTable, plan: Plan) -> Assignment:
    """The slots and regions of a plan's stages."""
    return [(table.slots.index(stage.slot), stage.regions) for stage in plan.stages]


def gather(board: Board, max_stages: int, seconds: float) -> Pool:
    """Plans of each model from other methods, and from searches on each set of engines.

    The first searches, of all engines, may take half of the time: what they prove is proven of
    every plan. Raises PartitionError, naming the model, when one has no plan at all.
    """
    end = perf_counter() + seconds
    count = len(board.models)
    pool = Pool(board, max_stages, [[] for _ in range(count)])
    share = max(_LEAST_SOLVE_S, seconds / (4 * count))
    _plan_alone(pool, share)
    _add_rows(pool)
    for m, table, request, origin in _searches(board, max_stages):
        left = end - perf_counter()
        if left < _LEAST_SOLVE_S:
            break
        pool.solve(m, table, replace(request, time_limit_s=min(left, share)), origin)
    return pool


def _plan_alone(pool: Pool, share: float) -> None:
    """Plan each model as if it had the board to itself, for the latency and for the interval."""
    for objective, proofs in (
        (Objective.LATENCY, pool.latency),
        (Objective.INTERVAL, pool.interval),
    ):
        row = []
        for m, model in enumerate(pool.board.models):
            request = Request(objective, max_stages=pool.max_stages, time_limit_s=share)
            try:
                plan = solve(model.table, request, "")
            except PartitionError as error:
                raise PartitionError(
                    f"model {model.name}: {error.subject}", error.reason, error.next_step
                ) from error
            proofs.append(plan.certificate)
            row.append(pool.add(m, assignment_of(model.table, plan), f"least {objective}"))
        pool.rows[f"{ALONE}, least {objective}"] = row


def _add_rows(pool: Pool) -> None:
    """Other methods' plans: all models on one engine, then each method used for every model."""
    board = pool.board
    for e, engine in enumerate(board.engines):
        row = []
        for m, problem in enumerate(board.problems):
            own = Problem(_without(problem.table, {e}))
            if not _is_placeable(own.table):
                break
            single = valid(problem, best_single_engine(own, pool.max_stages))
            if single is None or len(single.stages) > pool.max_stages:
                break
            row.append(pool.add(m, single.assignment, f"all on {engine}"))
        else:
            pool.rows[f"{ONE_ENGINE}: {engine}"] = row
    methods = [
        {c.name: c.schedule for c in baselines(problem, Request(max_stages=pool.max_stages))}
        for problem in board.problems
    ]
    for name in methods[0]:
        found = [own[name] for own in methods]
        if all(schedule is not None for schedule in found):
            pool.rows[f"each by {name}"] = [
                pool.add(m, schedule.assignment, name)
                for m, schedule in enumerate(found)
                if schedule is not None
            ]


def _searches(board: Board, max_stages: int) -> Iterator[tuple[int, CostTable, Request, str]]:
    """What to search: fewer engines first, every model in turn, both objectives."""
    count = len(board.engines)
    if count > MOST_ENGINES:
        return
    for size in range(1, count + 1):
        for engines in combinations(range(count), size):
            names = "+".join(board.engines[e] for e in engines)
            for m, model in enumerate(board.models):
                table = _without(model.table, set(engines))
                if not _is_placeable(table):
                    continue
                if size < count:
                    for objective in (Objective.LATENCY, Objective.INTERVAL):
                        request = Request(objective, max_stages=max_stages)
                        yield m, table, request, f"least {objective} on {names}"
                if model.budget_s is not None and size > 1:
                    request = Request(Objective.INTERVAL, model.budget_s, None, max_stages)
                    yield m, table, request, f"least interval within the budget on {names}"


def _without(table: CostTable, engines: set[int]) -> CostTable:
    """The table with all engines but these refusing everything."""
    names = {table.engines[e] for e in engines}
    kept = [slot.engine in names for slot in table.slots]
    return replace(
        table,
        costs=tuple(
            tuple(cost if keep else _KEPT_FREE for cost, keep in zip(row, kept, strict=True))
            for row in table.costs
        ),
    )


def _is_placeable(table: CostTable) -> bool:
    return all(any(isinstance(cost, Cost) for cost in row) for row in table.costs)


def beside(board: Board, m: int, plans: Sequence[Candidate]) -> CostTable | None:
    """A model's table as it looks beside the others' plans; None where nothing is left for it.

    An engine that others keep busy for a share u of the time takes 1 / (1 - u) times as long, and
    keeps what memory they leave. It steers a search; the numbers of what is found are the real
    ones.
    """
    table = board.models[m].table
    left = []
    for e in range(len(board.engines)):
        pairs = enumerate(zip(plans, board.rates, strict=True))
        left.append(1 - sum(rate * plan.load_s[e] for i, (plan, rate) in pairs if i != m))
    if not board.is_rated:
        left = [1.0] * len(left)
    engine_of = board.problems[m].engine_of
    costs = tuple(
        tuple(_slowed(cost, left[engine_of[s]]) for s, cost in enumerate(row))
        for row in table.costs
    )
    overhead = tuple(
        o / max(left[engine_of[s]], 1e-3) for s, o in enumerate(table.stage_overhead_s)
    )
    kept = [
        sum(plan.kept_bytes[e] for i, plan in enumerate(plans) if i != m)
        for e in range(len(board.engines))
    ]
    room = tuple(
        None if limit is None else max(0, limit - taken)
        for limit, taken in zip(table.capacity_bytes, kept, strict=bool(table.capacity_bytes))
    )
    changed = replace(table, costs=costs, stage_overhead_s=overhead, capacity_bytes=room)
    return changed if _is_placeable(changed) else None


def _slowed(cost: Cost | Refusal, left: float) -> Cost | Refusal:
    if isinstance(cost, Refusal):
        return cost
    return _KEPT_FREE if left < 1e-3 else Cost(cost.seconds / left, cost.source)


def load_bound(pool: Pool) -> float:
    """What no plans of all models load the fullest engine, or the memory, with less than.

    All models' regions spread over the engines as one, ignoring whole regions and transfers; the
    memory; and each model alone.
    """
    board = pool.board
    memory = sum(r * p.memory_s for r, p in zip(board.rates, board.problems, strict=True))
    spread = share_work(Problem(_union(board))).bound_s
    alone = [
        rate * proof.bound
        for rate, proof, model in zip(board.rates, pool.interval, board.models, strict=True)
        if model.table.contention is None
    ]
    return max(memory, spread, *alone, 0.0)


def _union(board: Board) -> CostTable:
    """One table of every model's regions, each cost times the model's rate."""
    first = board.models[0].table
    rows = [
        tuple(
            Cost(cost.seconds * rate, cost.source) if isinstance(cost, Cost) else cost
            for cost in row
        )
        for model, rate in zip(board.models, board.rates, strict=True)
        for row in model.table.costs
    ]
    names = [f"{model.name}/{region}" for model in board.models for region in model.table.regions]
    width = len(first.slots)
    return CostTable(
        regions=tuple(names),
        slots=first.slots,
        costs=tuple(rows),
        values=(),
        transfers=((None,) * width,) * width,
        stage_overhead_s=(0.0,) * width,
        dram_bytes=(0,) * len(rows),
        dram_bytes_per_s=0.0,
    )
