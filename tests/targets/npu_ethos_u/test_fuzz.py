"""Random QDQ graphs: refused by a rule, or right and on the NPU as a whole."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgeweave.targets.npu_ethos_u.vela import Vela

_SCRIPT = Path(__file__).parents[3] / "scripts/fuzz_ethos_u.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_ethos_u", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_ethos_u"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def vela() -> Iterator[Vela]:
    vela = Vela()
    yield vela
    vela.close()


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to shrink a failure, hundreds of graphs would be compiled
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_random_graph(fuzz: ModuleType, vela: Vela, data: st.DataObject) -> None:
    graph = fuzz.random_operators.draw_graph(
        lambda low, high: data.draw(st.integers(low, high), label="choice")
    )
    if graph.blocks:
        outcome = fuzz.check(graph, vela)
        assert not outcome.finding, f"{graph}: {outcome.finding}"


def test_graphs_are_worth_checking(fuzz: ModuleType) -> None:
    """Chains, branches, values with several readers, uint8 borders; not all is saturated."""
    kinds, lengths, readers, dtypes, free = set(), set(), set(), set(), []
    for number in range(60):
        graph = fuzz.random_operators.draw_graph(Random(number).randint)
        lengths.add(len(graph.blocks))
        dtypes |= {value.dtype for value in (*graph.inputs, *graph.outputs)}
        for block, value in fuzz.every_result(graph):
            kinds.add(block.node.kind)
            named = [getattr(o, "name", None) for b in graph.blocks for o in b.node.operands]
            readers.add(named.count(value.name))
            info = np.iinfo(value.dtype)
            inside = (value.numbers > info.min) & (value.numbers < info.max)
            free.append(inside.mean())
    assert lengths >= {1, 2, 3, 4, 5, 6}
    assert readers >= {0, 1, 2}
    assert dtypes == {"int8", "uint8"}
    assert len(kinds) > 25
    assert np.mean(free) > 0.6


def test_a_graph_is_what_onnx_runtime_makes_of_it(fuzz: ModuleType) -> None:
    for number in range(20):
        graph = fuzz.random_operators.draw_graph(Random(number).randint)
        feeds = {value.name: value.numbers for value in graph.inputs}
        model = graph.model(every_value=True)
        found = fuzz.random_operators.random_graphs.run_model(model, feeds)
        for (_, value), numbers in zip(fuzz.every_result(graph), found, strict=True):
            np.testing.assert_array_equal(numbers, value.numbers)


def _drawing(fuzz: ModuleType, shape: list[int]) -> Any:
    """A graph in the making with one input."""
    drawing = fuzz.random_operators.Drawing(Random(1).randint, ())
    drawing.input(shape)
    return drawing


def _graph(fuzz: ModuleType, drawing: Any) -> Any:
    last = drawing.blocks[-1]
    return fuzz.random_operators.random_graphs.RandomGraph(
        tuple(drawing.values[:1]), tuple(drawing.blocks), last.results, drawing.opset
    )


def _weights(*shape: int) -> Callable[[Any], Any]:
    return lambda drawing: drawing.weights(list(shape), 0)


def _transposed(*shape: int) -> Callable[[Any], Any]:
    return lambda drawing: drawing.weights(list(shape), 1)


_ONCE_FOUND = {
    "a transposed convolution with unequal strides": (
        [1, 4, 6, 6],
        "ConvTranspose",
        [_transposed(4, 3, 2, 2)],
        {"strides": [2, 1]},
    ),
    "a transposed convolution that leaves gaps": (
        [1, 4, 13, 2],
        "ConvTranspose",
        [_transposed(4, 3, 1, 1)],
        {"strides": [2, 2]},
    ),
    "a depthwise convolution with a long stride": (
        [1, 6, 12, 12],
        "Conv",
        [_weights(6, 1, 3, 3)],
        {"group": 6, "strides": [4, 1]},
    ),
    "a long stride over pads": (
        [1, 6, 12, 12],
        "Conv",
        [_weights(5, 6, 3, 3)],
        {"strides": [4, 4], "pads": [1, 1, 1, 1]},
    ),
    "a long stride over pads at the end": (
        [1, 7, 8, 12],
        "Conv",
        [_weights(1, 7, 3, 3)],
        {"strides": [3, 4], "pads": [0, 0, 1, 0]},
    ),
    "a long stride with automatic pads": (
        [1, 6, 12, 12],
        "Conv",
        [_weights(5, 6, 5, 5)],
        {"strides": [4, 4], "auto_pad": "SAME_UPPER"},
    ),
    "a mean over channels": ([1, 8, 10, 8], "ReduceMean", [], {"axes": [1], "keepdims": 1}),
    "a resize that changes nothing": (
        [1, 5, 1, 9],
        "Resize",
        [None, None, np.array([1, 5, 1, 9], np.int64)],
        {"mode": "linear"},
    ),
    "a resize by unequal factors": (
        [1, 5, 1, 9],
        "Resize",
        [None, None, np.array([1, 5, 3, 9], np.int64)],
        {"mode": "linear"},
    ),
    "a resize of two images": (
        [2, 11, 3, 3],
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear"},
    ),
    "a slice that strides over channels": (
        [1, 13, 15, 4],
        "Slice",
        [np.array(v, np.int64) for v in ([0, 0], [13, 15], [1, 2], [2, 2])],
        {},
    ),
    "a slice that strides over axes of which one place is left": (
        [1, 13, 15, 4],
        "Slice",
        [np.array(v, np.int64) for v in ([6, 1, 2], [10, 3, 3], [1, 2, 3], [2, 3, 2])],
        {},
    ),
    "a pool larger than its image": (
        [1, 13, 1, 1],
        "AveragePool",
        [],
        {"kernel_shape": [1, 2], "strides": [4, 4], "count_include_pad": 1},
    ),
}


@pytest.mark.parametrize("name", _ONCE_FOUND)
def test_what_was_once_found(fuzz: ModuleType, vela: Vela, name: str) -> None:
    """Each went to Vela, which left it to a CPU or failed, or gave wrong numbers."""
    shape, kind, rest, attributes = _ONCE_FOUND[name]
    drawing = _drawing(fuzz, shape)
    drawing.opset = 17
    drawing.pick = lambda items: items[0]
    operands = [make(drawing) if callable(make) else make for make in rest]
    node = fuzz.random_operators.Node(kind, [drawing.values[0], *operands], attributes)
    assert drawing.apply(node)
    outcome = fuzz.check(_graph(fuzz, drawing), vela)
    assert not outcome.finding


def test_a_result_far_finer_than_hard_swish_has_it_is_refused(fuzz: ModuleType, vela: Vela) -> None:
    values = fuzz.random_operators.random_graphs
    x = values.Value("x", np.arange(-8, 8, dtype=np.int8).reshape(1, 16), np.float32(1.0), 9)
    y = values.Value("y", np.zeros((1, 16), np.int8), np.float32(1e-4), 0)
    block = values.Block(values.Node("HardSwish", [x]), None, (y,))
    outcome = fuzz.check(values.RandomGraph((x,), (block,), (y,), 17), vela)
    assert set(outcome.refused) == {"ethos-u.fine-scale"}


def test_a_clip_after_a_convolution_is_compiled(fuzz: ModuleType, vela: Vela) -> None:
    drawing = _drawing(fuzz, [1, 4, 6, 6])
    drawing.pick = lambda items: (0.0, 6.0) if None in items else items[0]
    weights = drawing.weights([5, 4, 3, 3], 0)
    assert drawing.apply(fuzz.random_operators.Node("Conv", [drawing.values[0], weights]))
    assert drawing.blocks[0].tail == (0.0, 6.0)
    outcome = fuzz.check(_graph(fuzz, drawing), vela)
    assert (outcome.finding, outcome.compiled, dict(outcome.refused)) == ("", 3, {})


def _first(fuzz: ModuleType, kind: str) -> Any:
    """A compiled graph of one operator of that kind."""
    for number in range(2000):
        graph = fuzz.random_operators.draw_graph(Random(number).randint)
        if [b.node.kind for b in graph.blocks] == [kind] and graph.blocks[0].tail is None:
            return graph
    raise AssertionError(kind)


def test_a_wrong_emitter_is_found(
    fuzz: ModuleType, vela: Vela, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = _first(fuzz, "Conv")
    right = fuzz.evaluate
    assert not fuzz.check(graph, vela).finding
    monkeypatch.setattr(fuzz, "evaluate", lambda *given: [v ^ 1 for v in right(*given)])
    assert "differ from LiteRT's" in fuzz.check(graph, vela).finding


def test_what_vela_leaves_to_a_cpu_is_found(
    fuzz: ModuleType, vela: Vela, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any) -> None:
        raise fuzz.TargetError("ethos-u55-128", "Vela leaves 1 of its operators to a CPU")

    monkeypatch.setattr(vela, "compile", refuse)
    assert "leaves 1 of its operators" in fuzz.check(_first(fuzz, "Conv"), vela).finding
