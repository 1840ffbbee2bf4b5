"""Plans made from what a vendor's tool says of whole stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeweave.compiler import estimates
from edgeweave.compiler.estimates import STAGE_RULE, plan_from_estimates
from edgeweave.compiler.pipeline import Job, Planned, plan_model, silent
from edgeweave.partition.constraints import Constraints, Demand, constrain
from edgeweave.partition.costs import Source
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve
from edgeweave.targets.backend import Refusal, Slot
from edgeweave.targets.board_file import load_board
from edgeweave.targets.errors import BuildError

NPU = Slot("npu", "npu_ethos_u")
LAYERS = 4


def network() -> onnx.ModelProto:
    """A quantised chain of convolutions of 16 channels on 24 x 24."""
    body = ["v0 = QuantizeLinear(x, s, z)"]
    for i in range(LAYERS):
        body += [
            f"d{i} = DequantizeLinear(v{i}, s, z)",
            f"e{i} = DequantizeLinear(w{i}, t, z)",
            f"c{i} = Conv <pads = [1, 1, 1, 1]> (d{i}, e{i})",
            f"v{i + 1} = QuantizeLinear(c{i}, s, z)",
        ]
    body.append(f"y = DequantizeLinear(v{LAYERS}, s, z)")
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 17]>'
        f"g (float[1,16,24,24] x) => (float[1,16,24,24] y) {{ {' '.join(body)} }}"
    )
    random = np.random.default_rng(0)
    values: dict[str, Any] = {"s": np.float32(0.05), "t": np.float32(0.002), "z": np.int8(0)}
    for i in range(LAYERS):
        values[f"w{i}"] = random.integers(-127, 128, (16, 16, 3, 3)).astype(np.int8)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name) for name, value in values.items()
    )
    return proto


def job(objective: Objective = Objective.LATENCY) -> Job:
    return Job(network(), load_board("imx93"), Request(objective, time_limit_s=4.0))


@pytest.fixture(scope="module")
def planned() -> Planned:
    return plan_model(job())


def npu_stage(planned: Planned) -> Any:
    (stage,) = [stage for stage in planned.plan.stages if stage.slot == NPU]
    return stage


def test_a_stage_costs_what_the_tool_says_of_it_as_a_whole(
    planned: Planned, tmp_path: Path
) -> None:
    stage = npu_stage(planned)
    assert len(stage.regions) == LAYERS
    whole = estimates._built(planned, stage, tmp_path).estimate
    assert whole is not None
    overhead = planned.table.stage_overhead_s[planned.table.slots.index(NPU)]
    assert stage.compute_s == pytest.approx(whole.seconds + overhead, rel=0.03)
    assert planned.estimated is not None
    (known,) = [s for s in planned.estimated.stages if planned.table.slots[s.slot] == NPU]
    assert known.compute_s == pytest.approx(whole.seconds + overhead, rel=1e-6)
    alone = [planned.checks.estimate(r, planned.board.engine("npu"), NPU.backend)
             for r in planned.regions.graph.regions]  # fmt: skip
    assert sum(s for s in alone if s) > 1.1 * whole.seconds
    assert whole.details["accelerator"] == "ethos-u65-256"


def test_every_cost_on_it_is_called_vendor_estimated(planned: Planned) -> None:
    column = planned.table.slots.index(NPU)
    costs = [row[column] for row in planned.table.costs]
    assert [getattr(cost, "source", None) for cost in costs[1:-1]] == [Source.VENDOR] * LAYERS
    refused = [cost.rule for cost in (costs[0], costs[-1]) if isinstance(cost, Refusal)]
    assert refused == ["ethos-u.block", "engine.precision"]


def test_a_plan_that_came_twice_stays(planned: Planned) -> None:
    again = plan_from_estimates(planned, silent)
    assert again.plan.stages == planned.plan.stages
    assert again.plan.latency_s == pytest.approx(planned.plan.latency_s, rel=1e-9)


def test_the_region_at_which_a_stage_begins_to_fail_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = estimates.build_stage

    def no_more_than_two(source: Any, engine: Any, folder: Path) -> Any:
        if len(source.stage.regions) > 2:
            raise BuildError(source.stage.name, "it is too long")
        return real(source, engine, folder)

    monkeypatch.setattr(estimates, "build_stage", no_more_than_two)
    planned = plan_model(job())
    stages = [stage for stage in planned.plan.stages if stage.slot == NPU]
    assert all(len(stage.regions) <= 2 for stage in stages)
    reasons = [
        other.reason
        for placement in planned.plan.placements
        for other in placement.alternatives
        if other.rule == STAGE_RULE
    ]
    assert reasons
    assert all("it is too long" in reason for reason in reasons)


def test_a_plan_that_never_settles_is_the_best_that_was_estimated(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool whose figures for the same stage grow each time it is asked."""
    real: Callable[..., Any] = estimates._built
    asked: list[float] = []

    def slower_each_time(planned: Planned, stage: Any, folder: Path) -> Any:
        artifact = real(planned, stage, folder)
        asked.append(len(asked) + 1.0)
        return replace(artifact, estimate=replace(artifact.estimate, seconds=1e-4 * asked[-1] ** 3))

    monkeypatch.setattr(estimates, "_built", slower_each_time)
    monkeypatch.setattr(estimates, "_key", lambda _plan: object())
    result = plan_from_estimates(planned, silent)
    assert result.estimated is not None
    overhead = planned.table.stage_overhead_s[planned.table.slots.index(NPU)]
    (known,) = [s for s in result.estimated.stages if planned.table.slots[s.slot] == NPU]
    assert known.compute_s == pytest.approx(1e-4 + overhead, rel=1e-6)
    assert len(asked) > 1


def test_an_engine_whose_stages_are_slow_as_wholes_is_left(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = estimates._built

    def slow(planned: Planned, stage: Any, folder: Path) -> Any:
        artifact = real(planned, stage, folder)
        return replace(artifact, estimate=replace(artifact.estimate, seconds=1.0))

    monkeypatch.setattr(estimates, "_built", slow)
    result = plan_from_estimates(planned, silent)
    assert all(stage.slot != NPU for stage in result.plan.stages)
    assert result.plan.latency_s < 0.1
    assert result.estimated is None
    assert result.plan.meets


def test_a_budget_that_the_estimates_miss_is_missed(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = estimates._built

    def slow(planned: Planned, stage: Any, folder: Path) -> Any:
        artifact = real(planned, stage, folder)
        return replace(artifact, estimate=replace(artifact.estimate, seconds=1.0))

    monkeypatch.setattr(estimates, "_built", slow)
    forced = constrain(planned.table, Constraints(place=(Demand("r00[1-4]*", "npu"),)))
    request = replace(planned.plan.request, budget_s=0.1)
    plan = solve(forced, request, "imx93")
    assert plan.meets
    result = plan_from_estimates(replace(planned, table=forced, plan=plan), silent)
    assert not result.plan.meets
    assert "by the estimates of whole stages" in result.plan.shortfall[0]
