"""A placement as text: model, stages, proof, other methods, refusals, regions, fallbacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeweave.compiler.cli.compare import amount, energy, show_comparison
from edgeweave.compiler.cli.fallbacks import find_fallbacks
from edgeweave.compiler.cli.show_quantized import show_quantized
from edgeweave.compiler.cli.text import DASH, counted, duration, table
from edgeweave.partition.plan import Placement, Plan, Stage


def show_model(data: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    """The model, the board, and what the front end did; or the cost table that was placed."""
    if "costs" in data:
        yield from show_table(plan)
        return
    regions = counted(len(plan.placements), "region")
    yield f"{data.get('model', 'a model')} on {plan.board}: {regions}"
    done = [_rewrite(entry) for entry in data.get("rewrites", ())]
    yield f"rewrites: {', '.join(done) or 'none'}"
    yield from show_quantized(data.get("quantized"))


def _rewrite(entry: Mapping[str, Any]) -> str:
    note = f" ({entry['note']})" if entry.get("note") else ""
    return f"{entry['name']} {entry['count']}{note}"


def show_table(plan: Plan) -> Iterator[str]:
    """The cost table that was placed."""
    slots = {other.slot for p in plan.placements[:1] for other in p.alternatives}
    regions = counted(len(plan.placements), "region")
    yield f"{plan.board}: {regions}, {counted(len(slots) + 1, 'slot')}"


STAGE_HEADERS = ["stage", "engine", "backend", "regions", "compute", "transfer", "costs"]


def stage_row(stage: Stage) -> list[str]:
    """The cells of a stage under ``STAGE_HEADERS``."""
    return [
        f"s{stage.index}",
        stage.slot.engine,
        stage.slot.backend,
        str(len(stage.regions)),
        duration(stage.compute_s),
        duration(stage.transfer_s),
        ", ".join(f"{count} {source}" for source, count in stage.sources.items()),
    ]


def show_plan(plan: Plan) -> Iterator[str]:
    """Stages, predicted numbers and how good they are."""
    yield ""
    yield "stages, all times predicted"
    yield from table(STAGE_HEADERS, [stage_row(stage) for stage in plan.stages])
    yield ""
    yield from _numbers(plan)
    yield ""
    yield from show_comparison(plan)


def _numbers(plan: Plan) -> Iterator[str]:
    request, proof = plan.request, plan.certificate
    yield f"predicted latency:  {duration(plan.latency_s)}" + _limit(
        plan.latency_s, request.budget_s, "the budget"
    )
    rate = f" ({1 / plan.interval_s:.1f} frames/s)" if plan.interval_s > 0 else ""
    yield (
        f"predicted interval: {duration(plan.interval_s)}{rate}, set by {plan.interval_limit}"
        + _limit(plan.interval_s, request.max_interval_s, "the limit")
    )
    if plan.energy_j is not None:
        yield f"predicted energy:   {energy(plan.energy_j)} per frame"
    state = "proven optimal" if proof.optimal else f"gap {proof.gap:.2%}"
    bound = amount(proof.bound, proof.objective)
    yield (
        f"lower bound:        {bound} on the {proof.objective}, {state} "
        f"({proof.solver}, {duration(proof.wall_s)})"
    )
    yield f"scope of the bound: {proof.scope}"


def _limit(value: float, limit: float | None, name: str) -> str:
    if limit is None:
        return ""
    return f", {'within' if value <= limit * (1 + 1e-9) else 'over'} {name} of {duration(limit)}"


def show_shortfall(plan: Plan) -> Iterator[str]:
    """What would have to change for the request to be met; nothing when it is met."""
    if plan.shortfall:
        yield ""
        yield "what would have to change"
        yield from (f"  {sentence}" for sentence in plan.shortfall)


def show_placement(plan: Plan, *, every_region: bool) -> Iterator[str]:
    """Where the regions went: counted by slot, or each with why it is nowhere else."""
    yield ""
    if every_region:
        yield "regions, times predicted"
        for placement in plan.placements:
            yield from _region(placement)
    else:
        yield "placement"
        slots: dict[str, list[Placement]] = {}
        for placement in plan.placements:
            slots.setdefault(str(placement.slot), []).append(placement)
        rows = [
            [slot, str(len(placed)), duration(sum(p.seconds for p in placed))]
            for slot, placed in slots.items()
        ]
        yield from table(["slot", "regions", "predicted"], rows)
    yield from _refusals(plan)


def _region(placement: Placement) -> Iterator[str]:
    yield (
        f"  {placement.region}: s{placement.stage} on {placement.slot}, "
        f"{duration(placement.seconds)} {placement.source}"
    )
    for other in placement.alternatives:
        rule = f" [{other.rule}]" if other.rule else ""
        yield f"    not {other.slot}: {other.verdict}: {other.reason}{rule}"


def _refusals(plan: Plan) -> Iterator[str]:
    """Refusals by slot and rule, each with its most frequent reason."""
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for placement in plan.placements:
        for other in placement.alternatives:
            if other.verdict == "refused":
                key = (str(other.slot), other.rule)
                reasons.setdefault(key, Counter())[other.reason] += 1
    if not reasons:
        return
    yield ""
    yield "refused"
    rows = []
    for (slot, rule), counts in reasons.items():
        text, _ = counts.most_common(1)[0]
        more = f" (and {counted(len(counts) - 1, 'other reason')})" if len(counts) > 1 else ""
        rows.append([slot, rule, str(counts.total()), text + more])
    yield from table(["slot", "rule", "regions", "reason"], rows)


def show_build(data: Mapping[str, Any]) -> Iterator[str]:
    """What was built for each stage and what was kept, and the numbers that follow."""
    build: Sequence[Mapping[str, Any]] = data["build"]
    yield ""
    yield "built"
    rows = []
    for choice in build:
        for candidate in choice["candidates"]:
            planned = "planned" if candidate["slot"] == choice["planned"] else ""
            rows.append(
                [
                    choice["stage"],
                    candidate["slot"]["backend"],
                    planned,
                    _took(candidate),
                    _verdict(choice, candidate),
                ]
            )
    yield from table(["stage", "backend", "", "whole call", "verdict"], rows)
    yield ""
    yield "with the stages as built"
    yield from _known(data["predicted"], data["request"])


def show_estimated(data: Mapping[str, Any]) -> Iterator[str]:
    """The numbers that follow from what vendors' tools state for whole stages."""
    if data.get("estimated") is not None:
        yield ""
        yield "with whole stages as vendor-estimated"
        yield from _known(data["estimated"], data["request"])


def show_unfinished(data: Mapping[str, Any]) -> Iterator[str]:
    """The stages that a vendor's own tool still has to build."""
    for left in data["unfinished"]:
        yield (
            f"left to do: {left['produces']} of {left['stage']} is not built yet; "
            f"stages/{left['stage']}/HANDOFF.md in the bundle says how"
        )


def _known(predicted: Mapping[str, Any], request: Mapping[str, Any]) -> Iterator[str]:
    yield f"predicted latency:  {duration(predicted['latency_s'])}" + _limit(
        predicted["latency_s"], request["budget_s"], "the budget"
    )
    yield (
        f"predicted interval: {duration(predicted['interval_s'])}, "
        f"set by {predicted['interval_limit']}"
        + _limit(predicted["interval_s"], request["max_interval_s"], "the limit")
    )


def _took(candidate: Mapping[str, Any]) -> str:
    if candidate["seconds"] is not None:
        return f"{duration(candidate['seconds'])} measured"
    estimate = candidate["estimate"]
    return DASH if estimate is None else f"{duration(estimate['seconds'])} vendor-estimated"


def _verdict(choice: Mapping[str, Any], candidate: Mapping[str, Any]) -> str:
    if candidate["slot"] == choice["slot"]:
        return "kept"
    if candidate["fault"]:
        return f"unusable: {' '.join(candidate['fault'].split())}"
    return "slower"


def show_origins(board: str, origins: Mapping[str, int] | None) -> Iterator[str]:
    """How many of the board's numbers nothing stands behind."""
    if origins is None:
        yield f"numbers of {board}: not known here, its board file is not at hand"
    else:
        yield (
            f"numbers of {board}: {origins['numbers']}, of which {origins['unsourced']} UNSOURCED"
        )


def show_devices(data: Mapping[str, Any]) -> Iterator[str]:
    """What devices of the board contributed, and the emulated figures that were left out."""
    for use in data["used"]:
        counts = [
            counted(use[key], noun)
            for key, noun in (
                ("costs", "cost"),
                ("calls", "call"),
                ("links", "link"),
                ("calibrations", "calibration"),
                ("verdicts", "verdict"),
            )
            if use[key]
        ]
        yield f"{use['device']['word']} on {use['described']}, {use['date']}: {', '.join(counts)}"
    yield from data["notes"]


def show_end(
    plan: Plan, build: Sequence[Mapping[str, Any]] = (), unchecked: int = 0
) -> Iterator[str]:
    """What is not checked, what ONNX Runtime runs by choice, and last what fell back."""
    fallbacks = find_fallbacks(plan, build)
    yield ""
    if unchecked:
        yield (
            f"unchecked: {unchecked} of {len(plan.placements)} regions were not yet compared with "
            "ONNX Runtime on this machine; --check and compile do it"
        )
    if fallbacks.by_cost:
        yield fallbacks.choice
    yield fallbacks.sentence
