import numpy as np
import pytest

from edgeweave.targets.npu_ethos_u.emit.refusals import Refused

IMAGE = (1, 8, 10, 12)
BROADCASTS = {
    "equal": IMAGE,
    "per channel": (1, 8, 1, 1),
    "per place": (10, 12),
    "per column": (12,),
}


@pytest.mark.parametrize("other", BROADCASTS)
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
def test_two_values(check, n, kind, other):
    outcome = check([n(kind, "x z", "y")], {"x": IMAGE, "z": BROADCASTS[other]})
    assert outcome.difference <= 1
    assert outcome.codes[-1] == kind.upper()


@pytest.mark.parametrize("shape", [(), (8, 1, 1), (12,), IMAGE])
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
def test_a_value_and_a_constant(check, n, draw, kind, shape):
    outcome = check([n(kind, "x c", "y")], {"x": IMAGE}, {"c": draw(*shape) + 2})
    assert outcome.difference <= 1
    assert outcome.codes == [kind.upper()]


def test_a_constant_first(check, n):
    outcome = check([n("Sub", "c x", "y")], {"x": IMAGE}, {"c": np.float32(1.5)})
    assert outcome.difference <= 1


def test_a_constant_that_is_not_quantised_is_exact_where_it_is_one_number(check, n):
    constants = {"c": np.full((1, 1), -1.7, np.float32)}
    outcome = check([n("Mul", "x c", "y")], {"x": (3, 5)}, constants, plain=["c"])
    assert outcome.difference <= 1


def test_a_constant_that_is_not_quantised_is_refused_where_it_is_several(check, n, draw):
    with pytest.raises(Refused, match="not one scale") as caught:
        check([n("Add", "x c", "y")], {"x": (3, 5)}, {"c": draw(5)}, plain=["c"])
    assert caught.value.rule == "ethos-u.quantised"


def with_factor(model, value):
    """The model with another value for the plain constant ``c``."""
    for initializer in model.graph.initializer:
        if initializer.name == "c":
            initializer.raw_data = np.float32(value).tobytes()
    return model


def test_a_constant_that_is_no_number_is_refused(quantised, compare, n):
    constants = {"c": np.float32(1)}
    model = quantised([n("Mul", "x c", "y")], {"x": (3, 5)}, constants, plain=["c"])
    with pytest.raises(Refused, match="reads the constant inf"):
        compare(with_factor(model, np.inf))


def test_constants_only_are_refused(check, n, draw):
    nodes = [n("Add", "a b", "c"), n("Add", "x c", "y")]
    with pytest.raises(Refused, match="constants only"):
        check(nodes, {"x": (3, 5)}, {"a": draw(5), "b": draw(5)})


def test_a_value_twice(check, n):
    assert check([n("Mul", "x x", "y")], {"x": IMAGE}).difference <= 1


def test_relu_belongs_to_the_sum(check, n):
    outcome = check([n("Add", "x z", "v"), n("Relu", "v", "y")], {"x": IMAGE, "z": IMAGE})
    assert outcome.difference <= 1
    assert outcome.codes == ["ADD"]


def test_division_by_one_number_is_a_product(check, n):
    outcome = check([n("Div", "x c", "y")], {"x": IMAGE}, {"c": np.float32(-5)})
    assert outcome.difference <= 1
    assert outcome.codes == ["MUL"]


def test_division_by_several_numbers_is_refused(check, n, draw):
    with pytest.raises(Refused, match="divides by more than one number, or by 0"):
        check([n("Div", "x c", "y")], {"x": (3, 2)}, {"c": draw(2)})


def test_division_by_0_is_refused(quantised, compare, n):
    constants = {"c": np.float32(1)}
    model = quantised([n("Div", "x c", "y")], {"x": (3, 5)}, constants, plain=["c"])
    with pytest.raises(Refused, match="or by 0"):
        compare(with_factor(model, 0))


PRODUCTS = {
    "Gemm": ("Gemm", (7, 20), (20, 10), {}),
    "Gemm, weights transposed": ("Gemm", (7, 20), (10, 20), {"transB": 1}),
    "MatMul": ("MatMul", (7, 20), (20, 10), {}),
    "MatMul of rank 3": ("MatMul", (2, 7, 20), (20, 10), {}),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_products_with_constant_weights_are_1x1_convolutions(check, n, draw, case):
    kind, shape, weights, attributes = PRODUCTS[case]
    nodes = [n(kind, "x w", "v", **attributes), n("Relu", "v", "y")]
    outcome = check(nodes, {"x": shape}, {"w": draw(*weights)})
    assert outcome.difference <= 1
    assert "CONV_2D" in outcome.codes
    assert set(outcome.codes) <= {"CONV_2D", "RESHAPE"}


def test_gemm_with_a_bias(check, n, draw):
    constants = {"w": draw(20, 10), "b": draw(10)}
    assert check([n("Gemm", "x w b", "y")], {"x": (7, 20)}, constants).difference <= 1


@pytest.mark.parametrize("attributes", [{"alpha": 0.5}, {"beta": 2.0}, {"transA": 1}])
def test_gemm_with_factors_or_a_transposed_value_is_refused(check, n, draw, attributes):
    constants = {"w": draw(20, 10), "b": draw(10)}
    with pytest.raises(Refused) as caught:
        check([n("Gemm", "x w b", "y", **attributes)], {"x": (20, 20)}, constants)
    assert caught.value.rule == "ethos-u.matrix-product"


def test_weights_of_rank_3_are_refused(quantised, compare, n, draw):
    with pytest.raises(Refused, match="rank 3"):
        compare(quantised([n("MatMul", "x w", "y")], {"x": (2, 7, 20)}, {"w": draw(2, 20, 10)}))


@pytest.mark.parametrize("batch", [(), (1,), (2,)])
def test_products_of_two_values(check, n, batch):
    outcome = check([n("MatMul", "x z", "y")], {"x": (*batch, 16, 30), "z": (*batch, 30, 8)})
    assert outcome.difference <= 1
    assert outcome.codes == ["BATCH_MATMUL"]


def test_products_of_values_of_unequal_ranks_are_refused(check, n):
    with pytest.raises(Refused, match="unequal ranks"):
        check([n("MatMul", "x z", "y")], {"x": (2, 16, 30), "z": (30, 8)})
