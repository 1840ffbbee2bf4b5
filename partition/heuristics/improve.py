"""Small changes to a plan: regions that change stage, alone or with all that must move along."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter

from edgeweave.partition.costs import INFINITY
from edgeweave.partition.evaluate import TOLERANCE, Schedule, broken_constraint, schedule
from edgeweave.partition.heuristics.incremental import Numbers, Placed
from edgeweave.partition.heuristics.staging import tidy
from edgeweave.partition.plan import Objective
from edgeweave.partition.problem import Problem


def joins(state: Placed, region: int) -> Iterator[int]:
    """The other stages that stand between what the region reads and what reads it."""
    problem, at = state.problem, state.position
    low = max((at[state.stage_of[p]] for p in problem.predecessors[region]), default=0)
    high = min(
        (at[state.stage_of[c]] for c in problem.successors[region]), default=len(state.order) - 1
    )
    for stage in state.order[low : high + 1]:
        if state.members[stage] and stage != state.stage_of[region]:
            yield stage


def splits(
    state: Placed, stage: int, max_stages: int
) -> Generator[tuple[int, list[int]], None, None]:
    """Every region of the stage with stages of its own to try, one for each slot.

    At each yield what depends on the region stands in a stage behind those, if the plan then has
    few enough stages; at the end, or when it is closed, all is as it was. Whoever moves the region
    moves it back first.
    """
    problem, used = state.problem, len(state.used)
    regions = sorted(state.members[stage])
    behind = _behind(problem, regions)
    if used - 1 + min(2, len(regions)) > max_stages:
        return
    with state.trial():
        position = state.position[stage] + 1
        back = state.open_stage(state.slot[stage], position)
        alone = [state.open_stage(slot, position) for slot in range(problem.width)]
        moved = 0
        try:
            for region in _depth_first(problem, regions):
                after = behind[region]
                before = len(regions) - 1 - after.bit_count()
                if used + (before > 0) + (after > 0) <= max_stages:
                    _toggle(state, regions, moved ^ after, stage, back)
                    moved = after
                    yield region, alone
        finally:
            _toggle(state, regions, moved, stage, back)
            state.close_stages((back, *alone))


def _toggle(state: Placed, regions: Sequence[int], bits: int, a: int, b: int) -> None:
    """Move those of the regions that ``bits`` names from the one stage to the other."""
    while bits:
        lowest = bits & -bits
        region = regions[lowest.bit_length() - 1]
        state.move(region, b if state.stage_of[region] == a else a)
        bits ^= lowest


def _behind(problem: Problem, regions: Sequence[int]) -> dict[int, int]:
    """For each of a convex set of regions those that depend on it, as bits of their places."""
    place = {region: i for i, region in enumerate(regions)}
    found: dict[int, int] = {}
    for region in reversed(regions):
        bits = 0
        for after in problem.successors[region]:
            if after in place:
                bits |= found[after] | 1 << place[after]
        found[region] = bits
    return found


def _before(problem: Problem, regions: Sequence[int]) -> dict[int, int]:
    """For each of a convex set of regions those it depends on, as bits of their places."""
    place = {region: i for i, region in enumerate(regions)}
    found: dict[int, int] = {}
    for region in regions:
        bits = 0
        for before in problem.predecessors[region]:
            if before in place:
                bits |= found[before] | 1 << place[before]
        found[region] = bits
    return found


def _depth_first(problem: Problem, regions: Sequence[int]) -> list[int]:
    """The regions so that neighbours mostly have the same regions behind them: branch by branch."""
    inside, seen = set(regions), set[int]()
    finished: list[int] = []
    for root in regions:
        open_regions = [root]
        while open_regions:
            region = open_regions[-1]
            if region not in seen:
                seen.add(region)
                open_regions += [
                    r for r in problem.successors[region] if r in inside and r not in seen
                ]
            else:
                finished.append(open_regions.pop())
    return list(dict.fromkeys(finished))[::-1]


def polish(
    problem: Problem,
    start: Schedule,
    objective: Objective,
    max_stages: int,
    allowed: Callable[[Schedule], bool],
    deadline: float,
) -> Schedule:
    """Take improving small changes until none is left or the deadline (perf_counter) passes.

    Better is a lower objective, then a lower latency and interval, then fewer stages. What changes
    is a stage's slot; a region's stage, or one of its own; or the border of two stages: the last or
    the first regions of a stage, or a region with all in its stage that depends on it, or that it
    depends on. The result breaks no limit of an engine that the start keeps.
    """
    best = start
    while perf_counter() <= deadline:
        search = _Search(
            Placed(problem, best.assignment),
            objective,
            max_stages,
            allowed,
            deadline,
            _numbers(best),
        )
        search.run()
        found = best
        if search.improved:
            stages = search.state.assignment()
            for trial in (schedule(problem, stages), schedule(problem, tidy(problem, stages))):
                better = _better(_numbers(trial), _numbers(found), objective)
                if better and _is_legal(problem, trial) and allowed(trial):
                    found = trial
        if found is best:
            break
        best = found
    return best


def _is_legal(problem: Problem, plan: Schedule) -> bool:
    return broken_constraint(problem, plan.assignment) is None


def _numbers(plan: Schedule) -> Numbers:
    return Numbers(plan.latency_s, plan.interval_s, plan.energy_j, len(plan.stages))


@dataclass
class _Search:
    """One pass over all small changes of a placement, which takes each that is an improvement."""

    state: Placed
    objective: Objective
    max_stages: int
    allowed: Callable[[Schedule], bool]
    deadline: float
    current: Numbers
    improved: bool = False

    def run(self) -> None:
        state = self.state
        for change in (self._change_slot, self._shift, self._shift_with, self._split):
            for stage in state.used:
                if state.members[stage] and not self._is_late:
                    change(stage)
        for region in range(state.problem.size):
            self._join(region)

    @property
    def _is_late(self) -> bool:
        return perf_counter() > self.deadline

    def _accept(self, best: Numbers) -> Numbers | None:
        """The numbers of the placement as it stands if it is legal and better than the best."""
        state = self.state
        if state.is_broken or len(state.used) > self.max_stages:
            return None
        # The interval is known before the stages are put in time.
        longest = best.interval_s * (1 + TOLERANCE)
        if self.objective is Objective.INTERVAL and state.interval_s() > longest:
            return None
        found = state.numbers()
        if not _better(found, best, self.objective) or not self.allowed(state.schedule()):
            return None
        return found

    def _take(self, found: Numbers) -> None:
        self.current, self.improved = found, True

    def _change_slot(self, stage: int) -> None:
        """Run the whole stage on another slot."""
        state, regions = self.state, sorted(self.state.members[stage])
        for slot in range(state.problem.width):
            takes = (state.problem.seconds[r][slot] < INFINITY for r in regions)
            if self._is_late or slot == state.slot[stage] or not all(takes):
                continue
            with state.trial() as keep:
                new = state.open_stage(slot, state.position[stage])
                for region in regions:
                    state.move(region, new)
                found = self._accept(self.current)
                if found is not None:
                    keep()
                    self._take(found)
                    return
                for region in regions:
                    state.move(region, stage)
                state.close_stages([new])

    def _join(self, region: int) -> None:
        """Move one region into another stage."""
        state = self.state
        for stage in list(joins(state, region)):
            if self._is_late:
                return
            here = state.stage_of[region]
            with state.trial() as keep:
                state.move(region, stage)
                found = self._accept(self.current)
                if found is not None:
                    keep()
                    self._take(found)
                    return
                state.move(region, here)

    def _shift(self, stage: int) -> None:
        """Move the last regions into a later stage, or a new one; the first into an earlier."""
        state = self.state
        for later in (True, False):
            place = state.position[stage]
            others = state.order[place + 1 :] if later else state.order[:place][::-1]
            for target in [k for k in others if state.members[k]]:
                if state.members[stage] and not self._shift_into(stage, target, later):
                    break
            for slot in range(state.problem.width):
                spare = len(state.used) < self.max_stages
                if spare and slot != state.slot[stage] and len(state.members[stage]) > 1:
                    target = state.open_stage(slot, state.position[stage] + later)
                    self._shift_into(stage, target, later)
                    if not state.members[target]:
                        state.close_stages([target])

    def _shift_into(self, stage: int, target: int, later: bool) -> bool:
        """Whether any region could move; as many are moved as are best."""
        state, at = self.state, self.state.position
        neighbours = state.problem.successors if later else state.problem.predecessors
        best, moved, kept = self.current, 0, 0
        regions = sorted(state.members[stage], reverse=later)
        with state.trial() as keep:
            for region in regions:
                over = (at[state.stage_of[r]] - at[target] for r in neighbours[region])
                if self._is_late or any(o < 0 if later else o > 0 for o in over):
                    break
                state.move(region, target)
                moved += 1
                found = self._accept(best)
                if found is not None:
                    best, kept = found, moved
            for region in regions[kept:moved]:
                state.move(region, stage)
            if kept:
                keep()
                self._take(best)
        return moved > 0

    def _shift_with(self, stage: int) -> None:
        """Move a region into the next stage with all that depends on it; or the other way."""
        state = self.state
        for later in (True, False):
            used = state.used
            if stage not in used:
                return
            index = used.index(stage) + (1 if later else -1)
            if 0 <= index < len(used):
                regions = sorted(state.members[stage])
                along = (_behind if later else _before)(state.problem, regions)
                sets = {
                    r: along[r] | 1 << i
                    for i, r in enumerate(regions)
                    if along[r].bit_count() != (len(regions) - 1 - i if later else i)
                }  # the others are shifted without such care
                order = [r for r in _depth_first(state.problem, regions) if r in sets]
                self._choose_set(regions, [sets[r] for r in order], stage, used[index])

    def _choose_set(
        self, regions: Sequence[int], sets: Sequence[int], stage: int, target: int
    ) -> None:
        state, best, kept, now = self.state, self.current, 0, 0
        with state.trial() as keep:
            for bits in sets:
                if self._is_late:
                    break
                _toggle(state, regions, now ^ bits, stage, target)
                now = bits
                found = self._accept(best)
                if found is not None:
                    best, kept = found, bits
            _toggle(state, regions, now ^ kept, stage, target)
            if kept:
                keep()
                self._take(best)

    def _split(self, stage: int) -> None:
        """Give a region a stage of its own on any slot, between the parts of its present one."""
        state, best = self.state, self.current
        chosen: tuple[int, int] | None = None
        regions = sorted(state.members[stage])
        with closing(splits(state, stage, self.max_stages)) as tries:
            for region, alone in tries:
                if self._is_late:
                    break
                for slot, target in enumerate(alone):
                    if slot == state.slot[stage]:
                        continue
                    with state.trial():
                        state.move(region, target)
                        found = self._accept(best)
                        state.move(region, stage)
                    if found is not None:
                        best, chosen = found, (region, slot)
        if chosen is not None:
            region, slot = chosen
            position = state.position[stage] + 1
            back = state.open_stage(state.slot[stage], position)
            target = state.open_stage(slot, position)
            _toggle(state, regions, _behind(state.problem, regions)[region], stage, back)
            state.move(region, target)
            self._take(best)


def _better(trial: Numbers, best: Numbers, objective: Objective) -> bool:
    for new, old in (
        (trial.value(objective), best.value(objective)),
        (trial.latency_s, best.latency_s),
        (trial.interval_s, best.interval_s),
    ):
        if new < old * (1 - TOLERANCE):
            return True
        if new > old * (1 + TOLERANCE):
            return False
    return trial.stages < best.stages
