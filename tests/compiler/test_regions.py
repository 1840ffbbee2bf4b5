from edgeweave.compiler.regions import find_regions


def operators(regions):
    return [[operator.type for operator in region.operators] for region in regions.graph.regions]


CONV = """g (float[1,2,6,6] x) => (float[1,4,6,6] y) <float[4,2,1,1] w = {1,2,3,4,5,6,7,8}> {
    a = Conv(x, w)
    b = Relu(a)
    y = Add(b, b)
}"""


def test_an_elementwise_tail_joins_the_region_of_its_anchor(canonical):
    regions = find_regions(canonical(CONV))
    assert operators(regions) == [["Conv", "Relu", "Add"]]
    (region,) = regions.graph.regions
    assert [spec.name for spec in region.inputs] == ["x"]
    assert [spec.name for spec in region.outputs] == ["y"]
    assert region.weight_bytes == 32
    assert region.flops == 2 * 4 * 36 * 2 + 2 * 4 * 36
    assert region.bytes_moved == 32 + 4 * 72 + 4 * 144


def test_a_value_with_two_readers_ends_its_region(canonical):
    text = """g (float[2] x) => (float[2] y, float[2] z) {
        a = Exp(x)
        y = Neg(a)
        z = Abs(a)
    }"""
    assert operators(find_regions(canonical(text))) == [["Exp"], ["Neg"], ["Abs"]]


def test_an_output_of_the_model_ends_its_region(canonical):
    text = "g (float[2] x) => (float[2] a, float[2] y) { a = Exp(x)  y = Neg(a) }"
    regions = find_regions(canonical(text))
    assert operators(regions) == [["Exp"], ["Neg"]]
    assert [v.name for v in regions.graph.values if v.is_output] == ["a", "y"]


def test_a_tail_that_changes_the_shape_is_a_region_of_its_own(canonical):
    text = "g (float[1,3] x, float[4,1] z) => (float[4,3] y) { a = Exp(x)  y = Add(a, z) }"
    assert operators(find_regions(canonical(text))) == [["Exp"], ["Add"]]


def test_a_view_joins_the_region_whose_result_it_renames(canonical):
    text = """g (float[2,3] x) => (float[6] y) <int64[1] s = {6}> {
        a = Exp(x)
        y = Reshape(a, s)
    }"""
    assert operators(find_regions(canonical(text))) == [["Exp", "Reshape"]]


def test_side_inputs_of_a_tail_are_inputs_of_its_region(canonical):
    text = """g (float[2] x, float[2] z) => (float[2] y) {
        p = Softmax(z)
        a = Softmax(x)
        y = Add(a, p)
    }"""
    regions = find_regions(canonical(text))
    assert operators(regions) == [["Softmax"], ["Softmax", "Add"]]
    assert [spec.name for spec in regions.graph.regions[1].inputs] == ["x", "p"]


def test_an_operator_of_another_domain_stands_alone(canonical):
    text = """g (float[2] x) => (float[2] y) {
        a = com.microsoft.Gelu(x)
        y = Relu(a)
    }"""
    model = canonical(text)
    info = model.proto.graph.value_info.add(name="a")
    info.type.CopyFrom(model.proto.graph.input[0].type)
    assert operators(find_regions(model)) == [["Gelu"], ["Relu"]]


def test_values_of_unknown_type_stay_inside_one_region(canonical):
    text = """g (float[2] x) => (float[2] y, float[2] z) {
        b = Exp(x)
        a = com.microsoft.Strange(b)
        c = Softmax(x)
        y = com.microsoft.Strange(a)
        z = Neg(c)
    }"""
    merged = ["Strange", "Softmax", "Strange", "Neg"]
    assert operators(find_regions(canonical(text))) == [["Exp"], merged]


def test_a_dequantised_input_belongs_to_the_region_that_reads_it(canonical):
    text = """g (uint8[1,1,4,4] x) => (uint8[1,1,4,4] y)
        <float s = {0.5}, uint8 o = {3}, int8[1,1,1,1] k = {5}, float ks = {0.1}, int8 ko = {0}> {
        a = DequantizeLinear(x, s, o)
        w = DequantizeLinear(k, ks, ko)
        c = Conv(a, w)
        y = QuantizeLinear(c, s, o)
    }"""
    regions = find_regions(canonical(text))
    (region,) = regions.graph.regions
    assert sorted(operators(regions)[0]) == [
        "Conv", "DequantizeLinear", "DequantizeLinear", "QuantizeLinear"
    ]  # fmt: skip
    assert region.precision == "int8"


def test_an_integer_anchor_without_quantisation_is_not_int8(canonical):
    text = "g (int32[4] x) => (int32[4] y) { y = Add(x, x) }"
    assert find_regions(canonical(text)).graph.regions[0].precision == "int32"


def test_a_region_with_branches_is_marked_and_reads_what_they_capture(canonical):
    text = """g (float[2] x, bool c) => (float[2] y) {
        t = Exp(x)
        y = If (c) <
            then_branch = yes () => (float[2] p) { p = Neg(t) },
            else_branch = no () => (float[2] q) { q = Abs(t) }
        >
    }"""
    first, second = find_regions(canonical(text)).graph.regions
    assert (first.has_subgraph, second.has_subgraph) == (False, True)
    assert {spec.name for spec in second.inputs} == {"c", "t"}


def test_an_output_nobody_reads_is_no_output_of_its_region(canonical):
    text = "g (float[4] x) => (float[2] v) <int64[1] k = {2}> { v, i = TopK(x, k) }"
    (region,) = find_regions(canonical(text)).graph.regions
    assert [spec.name for spec in region.outputs] == ["v"]


def test_a_node_without_inputs_is_a_region(canonical):
    text = "g () => (float[2] y) { y = RandomNormal <shape = [2]> () }"
    (region,) = find_regions(canonical(text)).graph.regions
    assert (region.inputs, [s.name for s in region.outputs]) == ((), ["y"])
