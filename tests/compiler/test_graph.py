from edgeweave.compiler.graph import names_read, subgraphs, view_graph

CHAIN = """g (float[2,3] x) => (float[2,3] y) <float[3] w = {1, 2, 3}> {
    a = Add(x, w)
    b = Mul(a, a)
    y = Sub(b, a)
}"""
# The condition's branches read t and w from outside, and u is their own.
CONDITIONAL = """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
    t = Neg(x)
    y = If (c) <
        then_branch = yes () => (float[2] p) { u = Add(t, w)  p = Neg(u) },
        else_branch = no () => (float[2] t) {}
    >
}"""


def test_producers_and_readers_are_found_by_position(canonical):
    view = view_graph(canonical(CHAIN).proto)
    assert view.producer == {"a": 0, "b": 1, "y": 2}
    assert view.consumers["a"] == (1, 2)
    assert view.consumers["w"] == (0,)
    assert view.outputs == {"y"}


def test_a_value_read_twice_by_a_node_is_listed_once(canonical):
    view = view_graph(canonical(CHAIN).proto)
    assert view.reads[1] == ("a",)


def test_shapes_are_those_of_values_and_of_weights(canonical):
    view = view_graph(canonical(CHAIN).proto)
    assert view.shape("a") == (2, 3)
    assert view.shape("w") == (3,)
    assert view.shape("nobody") is None


def test_a_value_of_unknown_type_has_an_empty_type(canonical):
    text = "g (float[2] x) => (float[2] y) { a = com.microsoft.Op(x)  y = Neg(a) }"
    view = view_graph(canonical(text).proto)
    assert view.spec("a").type == ""
    assert view.shape("a") is None


def test_a_shape_that_depends_on_the_data_is_no_static_shape(canonical):
    text = "g (float[4] x) => (int64[1,N] y) { y = NonZero(x) }"
    assert view_graph(canonical(text).proto).shape("y") is None


def test_omitted_optional_inputs_and_outputs_are_no_values(canonical):
    text = """g (float[1,1,4,4] x) => (float[1,1,2,2] y) <float lo = {0.0}> {
        a = Clip(x, , lo)
        y, "" = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    }""".replace('y, "" =', "y =")
    proto = canonical(text).proto
    proto.graph.node[1].output.append("")
    view = view_graph(proto)
    assert view.reads[0] == ("x", "lo")
    assert "" not in view.producer


def test_a_node_with_branches_reads_what_they_capture(canonical):
    model = canonical(CONDITIONAL)
    node = model.proto.graph.node[1]
    assert len(list(subgraphs(node))) == 2
    assert set(names_read(node)) == {"c", "t", "w"}


def test_names_that_a_branch_defines_are_its_own(canonical):
    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <
            then_branch = yes () => (float[2] p) <float[2] k = {1, 2}> { p = Add(x, k) },
            else_branch = no () => (float[2] q) { q = Neg(x) }
        >
    }"""
    node = canonical(text).proto.graph.node[0]
    assert set(names_read(node)) == {"c", "x"}
