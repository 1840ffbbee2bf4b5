"""The sweep over ONNX's node tests: a sample of it, and how it counts what goes wrong."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.parser
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "onnx_node_tests.py"
# One of each family of operators: on TVM's code, and on ONNX Runtime.
ON_TVM = """
    averagepool_2d_pads cast_FLOAT_to_DOUBLE conv_with_strides_padding gather_0
    gemm_default_vector_bias logsoftmax_axis_1 mish quantizelinear
    reduce_max_default_axes_keepdim_example split_equal_parts_1d_opset18
""".split()
FALLING_BACK = """
    dequantizelinear_int4 gru_defaults if_seq string_concat
""".split()


@pytest.fixture(scope="module")
def sweep():
    with pytest.MonkeyPatch.context() as patch:
        # on the path, because the processes it starts import it as well
        patch.syspath_prepend(str(SCRIPT.parent))
        yield importlib.import_module(SCRIPT.stem)


def test_a_sample_of_the_node_tests_is_right_and_runs_where_it_should(tmp_path):
    names = "|".join([*ON_TVM, *FALLING_BACK])
    found = tmp_path / "outcomes.json"
    options = ["--bind", "--newest-opset=24", "--match", f"^test_({names})$", "--json", found]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = {o["name"].removeprefix("test_"): o for o in json.loads(found.read_text())}
    assert done.returncode == 0, done.stdout
    assert "    0  wrong" in done.stdout
    results = {name: outcome["result"] for name, outcome in outcomes.items()}
    assert [name for name in ON_TVM if results.get(name) != "pass"] == []
    assert [name for name in FALLING_BACK if results.get(name) != "fallback"] == []


def case(sweep, name="test_neg", wanted=-1.0):
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]>\ng (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    data = ([np.ones(2, np.float32)], [np.full(2, wanted, np.float32)])
    return sweep.Case(name, proto.SerializeToString(), (data,), 1e-3, 1e-7)


class Abort:
    """Ends the process that receives it."""

    name = "test_abort"

    def __reduce__(self):
        return os.abort, ()


def test_a_crash_is_counted_and_the_next_test_still_runs(sweep):
    outcomes = {o.name: o.result for o in sweep.run_all([Abort(), case(sweep)], jobs=1)}
    assert outcomes == {"test_abort": "crashed", "test_neg": "pass"}


def test_a_test_that_hangs_is_given_up(sweep, monkeypatch):
    monkeypatch.setattr(sweep, "TIMEOUT_S", 0.0)
    (outcome,) = sweep.run_all([case(sweep)], jobs=1)
    assert outcome.result == "timed out"


@pytest.fixture(scope="module")
def bench(sweep, cache_folder):
    made = sweep.Bench(0)
    yield made
    made.close()


def test_outputs_other_than_the_shipped_ones_are_laid_to_onnx_runtime_when_it_has_them(
    sweep, bench
):
    outcome = sweep.run_case(case(sweep, wanted=5.0), bench)
    assert outcome.result == "as ONNX Runtime"
    assert "2 of 2 values" in outcome.detail


def test_short_inputs_are_bound_on_request_and_the_first_never_is(sweep):
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]>
        g (float[4] x, int64[1] s, int32 a) => (float[4] y) { y = Op(x, s, a) }"""
    )
    given = [np.ones(4, np.float32), np.array([4]), np.int32(0)]
    bound = sweep.bound(sweep.Case("t", proto.SerializeToString(), ((given, []),), 1e-3, 1e-7))
    weights = onnx.ModelProto.FromString(bound.model).graph.initializer
    assert [(tensor.name, list(tensor.dims)) for tensor in weights] == [("s", [1]), ("a", [])]


def test_a_model_that_onnx_runtime_refuses_too_is_refused(sweep, bench):
    broken = case(sweep)
    proto = onnx.ModelProto.FromString(broken.model)
    proto.graph.node[0].op_type = "Nothing"
    outcome = sweep.run_case(
        sweep.Case("test_nothing", proto.SerializeToString(), broken.data_sets, 1e-3, 1e-7), bench
    )
    assert outcome.result == "refused"
    assert "Nothing" in outcome.detail


def test_a_report_counts_results_and_names_what_is_not_good(sweep):
    outcomes = [
        sweep.Outcome("test_a", sweep.Result.PASS),
        sweep.Outcome("test_b", sweep.Result.FALLBACK, "", ("If: cpu.subgraphs: it has flow",)),
        sweep.Outcome("test_c", sweep.Result.WRONG, "'y': 1 of 2 values differ"),
    ]
    text = sweep.report(outcomes, [])
    assert "    1  pass" in text
    assert "fallback by cpu.subgraphs: 1 tests" in text
    assert "wrong: test_c: 'y': 1 of 2 values differ" in text
    assert "test_b" not in text
    assert "fallback: test_b: If" in sweep.report(outcomes, ["fallback"])
