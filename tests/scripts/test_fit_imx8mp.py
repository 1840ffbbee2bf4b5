"""The fit finds the engine that latencies were made from, and says what it cannot know."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgeweave.targets.board import Engine, Quantity
from edgeweave.targets.board_file import load_board

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = (
    "audio/anomaly-detection/deep-autoencoder",
    "audio/command-recognition/keyword-spotting_DSCNN",
    "vision/classification/tiny-resnet",
    "vision/classification/visual-wake-word",
)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        spec = importlib.util.spec_from_file_location("fit_imx8mp", SCRIPTS / "fit_imx8mp.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
        del sys.modules[spec.name]


def engine(compute: float, memory: float, call_us: float) -> Engine:
    values = [Quantity(value, "test") for value in (compute, memory, call_us)]
    return replace(
        load_board("imx8mp").engine("npu"),
        compute_efficiency=values[0],
        memory_efficiency=values[1],
        call_overhead_us=values[2],
    )


def networks(script: ModuleType, source: Engine, traffic: float) -> list[Any]:
    """Networks whose latencies are those of the engine; every other one moves that much data."""
    made = []
    for place, size in enumerate((1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 2e-2)):
        parts = (size, 2 * size, 0.3 * size)
        moved = tuple(part * (traffic if place % 2 else 1e-6) for part in parts)
        network = script.Network(f"n{size}", parts, moved, 1e12 * size, 1.0)
        made.append(replace(network, seconds=network.predicted(source)))
    return made


def test_a_network_is_the_sum_of_its_regions_rooflines_and_one_call(script: ModuleType) -> None:
    network = script.Network("n", (1e-3, 1e-3), (1e-4, 1e-3), 0, 1.0)
    # the first is bound by arithmetic, the second by the memory
    predicted = network.predicted(engine(0.5, 0.1, 100))
    assert predicted == pytest.approx(100e-6 + 1e-3 / 0.5 + 1e-3 / 0.1)


def test_the_fit_finds_the_engine_that_made_the_latencies(script: ModuleType) -> None:
    source = engine(0.4, 0.05, 80)
    made = networks(script, source, 2.0)
    found = script.fit(made, engine(0.1, 0.5, 20))
    assert found.compute_efficiency.value == pytest.approx(0.4, rel=0.05)
    assert found.memory_efficiency.value == pytest.approx(0.05, rel=0.05)
    assert found.call_overhead_us.value == pytest.approx(80, rel=0.05)
    assert script.error(made, found) < 0.02
    assert script.factor(script.left_out(made, engine(0.1, 0.5, 20))) < 1.1


def test_the_memory_stays_as_it_is_when_nothing_depends_on_it(script: ModuleType) -> None:
    before = engine(0.1, 0.5, 20)
    found = script.fit(networks(script, engine(0.4, 0.5, 80), 1e-6), before)
    assert found.memory_efficiency is before.memory_efficiency
    assert found.compute_efficiency.value == pytest.approx(0.4, rel=0.05)


def test_a_network_that_is_left_out_does_not_pull_the_fit(script: ModuleType) -> None:
    made = networks(script, engine(0.4, 0.5, 80), 1e-6)
    made[4] = replace(made[4], seconds=made[4].seconds * 3)
    ratios = script.left_out(made, engine(0.1, 0.5, 20))
    assert ratios[4] == pytest.approx(1 / 3, rel=0.1)


def test_a_fit_does_not_start_from_what_was_fitted_before(script: ModuleType) -> None:
    starts = [script.unfitted(engine(*values)) for values in ((0.4, 0.05, 80), (0.1, 0.9, 1))]
    assert starts[0] == starts[1]


def test_the_factor_is_the_median_of_how_far_off_ratios_are(script: ModuleType) -> None:
    assert script.factor([0.5, 1.0, 4.0]) == pytest.approx(2)


def test_operations_alone_predict_at_the_median_rate(script: ModuleType) -> None:
    source = engine(0.4, 0.5, 80)
    made = networks(script, source, 1e-6)
    rate = made[0].operations / (made[0].seconds - 80e-6)
    model = "vision/object-detection/yolov4tiny"
    measured = {(model, "NPU"): 6900e6 / rate + 80e-6, ("other", "NPU"): 1.0}
    assert script.by_operations("NPU", made, source, measured) == pytest.approx({model: 1.0})


def test_regions_are_quantised_and_conversions_at_the_border_are_not_among_them(
    script: ModuleType,
) -> None:
    regions = script.quantised_regions("resnet8")
    assert {region.precision for region in regions} == {"int8"}
    assert all({op.type for op in r.operators} != {"QuantizeLinear"} for r in regions)
    assert sum(region.flops for region in regions) == pytest.approx(2 * 12.5e6, rel=0.05)


def test_broken_rows_are_passed_over(script: ModuleType, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("model,precision,latency_ms,unit\na,int8,2.5,NPU\nb,,int8,i.MX 8M Plus\n")
    assert script.read_latencies(table) == {("a", "NPU"): 0.0025}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no columns model, latency_ms and unit"),
        ("model,latency_ms,unit\na,fast,NPU\n", "a takes 'fast' ms"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_such_table_ends_with_a_message(
    script: ModuleType, tmp_path: Path, text: str | None, message: str
) -> None:
    table = tmp_path / "t.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(SystemExit, match=message):
        script.read_latencies(table)


def test_the_script_reports_each_unit(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [f"{m},int8,{i + 1},{unit}" for i, m in enumerate(SMALL) for unit in script.UNITS]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["model,precision,latency_ms,unit", *rows]))
    monkeypatch.setattr(sys, "argv", ["fit_imx8mp.py", str(table)])
    script.main()
    told = capsys.readouterr().out
    assert told.count("compute_efficiency") == 3
    assert all(told.count(model) == 3 for model in SMALL)
    assert told.count("left out") == 6


def test_too_few_networks_are_an_error(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"model,precision,latency_ms,unit\n{SMALL[0]},int8,1,NPU\n")
    monkeypatch.setattr(sys, "argv", ["fit_imx8mp.py", str(table)])
    with pytest.raises(SystemExit, match="0 networks that can be built; at least 4"):
        script.main()
