import itertools

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeweave.compiler.regions import find_regions
from edgeweave.compiler.split import cut_stage
from edgeweave.targets.backend import Slot

SLOT = Slot("cpu0", "onnxruntime")
CHAIN = """g (float[2,3] x) => (float[2,3] y, float[2,3] b) <float[3] w = {1, 2, 3}> {
    a = Softmax(x)
    b = Mul(a, w)
    c = Softmax(b)
    y = Add(c, a)
}"""


def names(specs):
    return [spec.name for spec in specs]


def test_a_stage_has_the_border_values_of_its_regions_and_their_weights(canonical):
    regions = find_regions(canonical(CHAIN))
    source = cut_stage(regions, "s1", SLOT, [2, 1])
    assert names(source.stage.inputs) == ["a"]
    assert names(source.stage.outputs) == ["b", "y"]
    assert source.stage.weights == ("w",)
    assert [region.index for region in source.stage.regions] == [1, 2]
    assert [n.op_type for n in source.stage.model.graph.node] == ["Mul", "Softmax", "Add"]
    onnx.checker.check_model(source.stage.model, full_check=True)


def test_a_stage_takes_along_the_initializers_that_only_its_branches_read(canonical, run_onnx):
    text = """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
        t = Softmax(x)
        y = If (c) <
            then_branch = yes () => (float[2] p) { p = Add(t, w) },
            else_branch = no () => (float[2] q) { q = Neg(t) }
        >
    }"""
    source = cut_stage(find_regions(canonical(text)), "s1", SLOT, [1])
    t = np.array([1, 2], np.float32)
    result = run_onnx(source.stage.model, {"t": t, "c": np.array(True)})
    np.testing.assert_array_equal(result["y"], [2, 4])


def reachable(model):
    """For each node, the nodes that a path leads to."""
    producer = {name: i for i, node in enumerate(model.graph.node) for name in node.output}
    after = [set() for _ in model.graph.node]
    for reader in reversed(range(len(model.graph.node))):
        for name in model.graph.node[reader].input:
            if name in producer:
                after[producer[name]] |= {reader} | after[reader]
    for node in reversed(range(len(after))):
        after[node] |= set().union(*(after[n] for n in after[node]))
    return after


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_region_is_convex_and_every_node_is_in_one(data, dags, canonical_proto):
    model = canonical_proto(data.draw(dags()))
    regions = find_regions(model)
    placed = sorted(itertools.chain(*regions.nodes))
    assert placed == list(range(len(model.proto.graph.node)))
    after = reachable(model.proto)
    for members in regions.nodes:
        left = set().union(*(after[n] for n in members)) - set(members)
        assert not any(after[outside] & set(members) for outside in left)


@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_stages_cut_anywhere_compute_what_the_model_computes(
    data, dags, canonical_proto, run_onnx, frame
):
    model = canonical_proto(data.draw(dags()))
    regions = find_regions(model)
    count = len(regions.graph.regions)
    cuts = sorted(data.draw(st.sets(st.integers(1, count), max_size=3)) | {0, count})
    values = dict(frame)
    for index, (begin, end) in enumerate(itertools.pairwise(cuts)):
        source = cut_stage(regions, f"s{index}", SLOT, range(begin, end))
        onnx.checker.check_model(source.stage.model)
        values |= run_onnx(source.stage.model, values)
    for name, wanted in run_onnx(model.original, frame).items():
        np.testing.assert_array_equal(values[name], wanted, err_msg=name)
