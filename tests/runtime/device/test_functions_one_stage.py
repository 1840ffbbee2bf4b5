"""One stage on a device: the values it takes and returns, and how wrong calls are answered."""

import json
import subprocess
import sys

import numpy as np
import pytest

tvm = pytest.importorskip("tvm", reason="TVM is not installed")


def export(builder, path):
    def link(output, objects, options=None):
        command = [sys.executable, "-m", "ziglang", "ld.lld", "-shared", "-o", output, *objects]
        subprocess.run(command, check=True, capture_output=True)

    built = tvm.relax.build(builder.get(), tvm.target.Target({"kind": "llvm"}))
    built.export_library(str(path), fcompile=link)
    return path.read_bytes()


def add_function(builder, name, types, body):
    parameters = [
        tvm.relax.Var(f"p{i}", tvm.relax.TensorType(shape, dtype))
        for i, (shape, dtype) in enumerate(types)
    ]
    with builder.function(name, parameters):
        with builder.dataflow():
            result = builder.emit_output(body(builder, *parameters))
        builder.emit_func_output(result)


WEIGHT = np.arange(8, dtype=np.float32).reshape(2, 4)
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Functions: nested results with a weight, and one that turns tensors of each element type."""
    op = tvm.relax.op

    def nested(builder, x, scalar, empty, weight):
        pair = tvm.relax.Tuple([op.multiply(scalar, scalar), op.add(empty, empty)])
        return tvm.relax.Tuple([op.add(x, weight), pair, op.shape_of(x)])

    builder = tvm.relax.BlockBuilder()
    f32 = "float32"
    types = [((2, 4), f32), ((), f32), ((0, 3), f32), ((2, 4), f32)]
    add_function(builder, "main", types, nested)
    turned = [((2, 3), dtype) for dtype in DTYPES]
    add_function(
        builder,
        "turn",
        turned,
        lambda b, *given: tvm.relax.Tuple([op.permute_dims(x) for x in given]),
    )
    return export(builder, tmp_path_factory.mktemp("library") / "stage.so")


def spec(name, shape, dtype="float32"):
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def nested_request(library, weights, offset=64):
    inputs = [spec("x", (2, 4)), spec("scalar", ()), spec("empty", (0, 3))]
    outputs = [
        *(spec("sum", (2, 4)), spec("square", ()), spec("nothing", (0, 3))),
        spec("shape", (2,), "int64"),
    ]
    weight = spec("w", (2, 4)) | {"offset": offset, "nbytes": 32}
    stage = {
        "name": "s0",
        "library": library,
        "weights": weights,
        "function": "main",
        "weights_index": [weight],
        "inputs": inputs,
        "outputs": outputs,
        "cores": [],
        "features": [],
    }
    return {"stages": [stage], "inputs": inputs, "outputs": [o["name"] for o in outputs]}


@pytest.fixture
def nested(client, library):
    """A request for the nested function, whose files are on the device."""
    weights = client.send(bytes(64) + WEIGHT.tobytes())
    return nested_request(client.send(library), weights)


def set_nested_inputs(client):
    for name, values in (("x", np.ones((2, 4), "f4")), ("scalar", np.float32(3)), ("empty", b"")):
        assert client.ask("set_input", name, bytes(values)) == {}


def test_nested_results_scalars_empties_and_shapes_come_out_flat(client, nested):
    assert client.ask("open", nested) == {"notes": []}
    set_nested_inputs(client)
    assert len(client.ask("run", 3, 1)) == 3 * 2 * 8
    total = np.frombuffer(client.ask("get_output", "sum"), np.float32)
    np.testing.assert_array_equal(total.reshape(2, 4), WEIGHT + 1)
    assert np.frombuffer(client.ask("get_output", "square"), np.float32).tolist() == [9.0]
    assert client.ask("get_output", "nothing") == b""
    assert np.frombuffer(client.ask("get_output", "shape"), np.int64).tolist() == [2, 4]


def test_a_weight_at_an_odd_offset_is_used_all_the_same(client, nested):
    nested["stages"][0]["weights"] = client.send(b"odd" + WEIGHT.tobytes())
    nested["stages"][0]["weights_index"][0]["offset"] = 3
    client.ask("open", nested)
    set_nested_inputs(client)
    client.ask("run", 1, 0)
    total = np.frombuffer(client.ask("get_output", "sum"), np.float32)
    np.testing.assert_array_equal(total.reshape(2, 4), WEIGHT + 1)


def test_every_element_type_crosses_a_stages_border(client, library):
    inputs = [spec(dtype, (2, 3), dtype) for dtype in DTYPES]
    outputs = [spec(f"{dtype} turned", (3, 2), dtype) for dtype in DTYPES]
    request = nested_request(client.send(library), None)
    request["stages"][0] |= {"function": "turn", "inputs": inputs, "outputs": outputs}
    request["stages"][0]["weights_index"] = []
    request |= {"inputs": inputs, "outputs": [o["name"] for o in outputs]}
    assert client.ask("open", request) == {"notes": []}
    given = {dtype: np.array([[0, 1, 0], [1, 1, 0]]).astype(dtype) for dtype in DTYPES}
    for dtype, values in given.items():
        assert client.ask("set_input", dtype, values.tobytes()) == {}
    assert len(client.ask("run", 1, 0)) == 16
    for dtype, values in given.items():
        result = np.frombuffer(client.ask("get_output", f"{dtype} turned"), dtype)
        np.testing.assert_array_equal(result.reshape(3, 2), values.T)


def test_a_stage_that_fails_is_named_and_the_session_goes_on(client, nested):
    wrong = json.loads(json.dumps(nested))
    for specs in (wrong["inputs"], wrong["stages"][0]["inputs"]):
        specs[0]["shape"] = [3, 4]
    client.ask("open", wrong)
    client.ask("set_input", "x", bytes(48))
    client.ask("set_input", "scalar", bytes(4))
    client.ask("set_input", "empty", b"")
    reason = client.refusal("failed", "run", 2, 0)
    assert reason.startswith("stage s0: ")
    assert "shape" in reason
    client.refusal("bad-request", "get_output", "sum")
    assert client.ask("open", nested) == {"notes": []}
    set_nested_inputs(client)
    assert len(client.ask("run", 1, 0)) == 16


def test_a_result_that_is_not_what_the_bundle_says_is_a_failure(client, nested):
    nested["stages"][0]["outputs"][0]["shape"] = [8]
    client.ask("open", nested)
    set_nested_inputs(client)
    reason = client.refusal("failed", "run", 1, 0)
    assert reason == "stage s0: it returned float32 (2, 4) for 'sum', which is float32 (8)"


def test_a_result_of_another_count_is_a_failure(client, nested):
    del nested["stages"][0]["outputs"][-1]
    nested["outputs"].remove("shape")
    client.ask("open", nested)
    set_nested_inputs(client)
    assert "returned 4 values, not 3" in client.refusal("failed", "run", 1, 0)


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF" + bytes(99)], ids=len)
def test_a_library_that_cannot_be_opened_is_told(client, nested, content):
    nested["stages"][0]["library"] = client.send(content)
    assert client.refusal("failed", "open", nested).startswith("stage s0: ")
    client.refusal("not-open", "run", 1, 0)


@pytest.mark.parametrize("key", ["library", "weights"])
def test_a_file_that_was_never_sent_is_told(client, nested, key):
    nested["stages"][0][key] = "f" * 64
    assert client.refusal("unknown-file", "open", nested).startswith("stage s0: ")


def test_a_library_of_something_else_is_told(client, nested, faults):
    nested["stages"][0]["library"] = client.send(faults.read_bytes())
    reason = client.refusal("failed", "open", nested)
    assert "vm_load_executable" in reason


def test_a_function_that_is_not_there_is_told(client, nested):
    nested["stages"][0]["function"] = "nothing"
    assert "has no function nothing" in client.refusal("failed", "open", nested)


def test_nothing_can_be_done_before_stages_are_open(client):
    client.refusal("not-open", "set_input", "x", b"")
    client.refusal("not-open", "run", 1, 0)
    client.refusal("not-open", "get_output", "y")


def test_calls_in_the_wrong_order_are_answered(client, nested):
    client.ask("open", nested)
    assert "'empty' was not set" in client.refusal("bad-request", "run", 1, 0)
    set_nested_inputs(client)
    assert "no frame" in client.refusal("bad-request", "get_output", "sum")
    client.ask("run", 1, 0)
    client.ask("open", nested)  # forgets the inputs
    client.refusal("bad-request", "run", 1, 0)


@pytest.mark.parametrize("size", [0, 31, 33, 1 << 20])
def test_an_input_of_another_size_is_answered(client, nested, size):
    client.ask("open", nested)
    assert "takes 32 bytes" in client.refusal("bad-request", "set_input", "x", bytes(size))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("set_input", ()),
        ("set_input", ("x",)),
        ("set_input", ("x", "text")),
        ("set_input", ("x", 5)),
        ("set_input", (5, bytes(32))),
        ("set_input", ("y", bytes(32))),
        ("set_input", ("sum", bytes(32))),
        ("set_input", ("x" * 100000, bytes(32))),
        ("run", ()),
        ("run", (1,)),
        ("run", (0, 0)),
        ("run", (-1, 0)),
        ("run", (1, -1)),
        ("run", (1_000_001, 0)),
        ("run", (1, 1_000_001)),
        ("run", (1 << 62, 0)),
        ("run", ("1", 0)),
        ("run", (1.5, 0)),
        ("run", (None, None)),
        ("get_output", ()),
        ("get_output", (1,)),
        ("get_output", ("x",)),
        ("get_output", ("é" * 400,)),
        ("open", ()),
        ("open", ("{}",)),
        ("open", ("[1]",)),
        ("open", (b"bytes",)),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_arguments_are_answered(client, nested, name, arguments):
    client.ask("open", nested)
    set_nested_inputs(client)
    client.refusal("bad-request", name, *arguments)
    assert len(client.ask("run", 1, 0)) == 16  # what was open still is


def stage_changes(request):
    return request["stages"][0]


def weight_changes(request):
    return request["stages"][0]["weights_index"][0]


def value_changes(request):
    return request["stages"][0]["inputs"][0]


BAD_OPENS = [
    (dict, {"stages": []}),
    (dict, {"stages": 3}),
    (dict, {"stages": [3]}),
    (dict, {"stages": [{}]}),
    (dict, {"inputs": None}),
    (dict, {"inputs": []}),
    (dict, {"outputs": None}),
    (dict, {"outputs": ["other"]}),
    (dict, {"outputs": [3]}),
    (dict, {"check_features": "yes"}),
    (stage_changes, {"name": None}),
    (stage_changes, {"name": ""}),
    (stage_changes, {"library": None}),
    (stage_changes, {"library": 3}),
    (stage_changes, {"library": "../../../../../../usr/lib/libc.so"}),
    (stage_changes, {"weights": 3}),
    (stage_changes, {"weights": None}),
    (stage_changes, {"weights": "../x"}),
    (stage_changes, {"function": None}),
    (stage_changes, {"inputs": [spec("other", (2, 4))]}),
    (stage_changes, {"outputs": []}),
    (stage_changes, {"outputs": [spec("x", (2, 4))]}),
    (stage_changes, {"outputs": [spec("sum", (2, 4))] * 2}),
    (stage_changes, {"cores": None}),
    (stage_changes, {"cores": [-1]}),
    (stage_changes, {"cores": [1 << 40]}),
    (stage_changes, {"cores": ["0"]}),
    (stage_changes, {"features": [3]}),
    (weight_changes, {"offset": -1}),
    (weight_changes, {"offset": 65}),
    (weight_changes, {"offset": 1 << 49}),
    (weight_changes, {"nbytes": 31}),
    (weight_changes, {"shape": [1 << 31, 1 << 31, 1 << 31]}),
    (weight_changes, {"dtype": "float8"}),
    (value_changes, {"shape": None}),
    (value_changes, {"shape": [-1, 4]}),
    (value_changes, {"shape": [4, 2]}),
    (value_changes, {"dtype": "int32"}),
    (value_changes, {"dtype": "string"}),
    (value_changes, {"dtype": None}),
    (value_changes, {"name": None}),
]


@pytest.mark.parametrize(
    ("where", "changes"), BAD_OPENS, ids=lambda value: getattr(value, "__name__", str(value)[:40])
)
def test_a_bad_request_to_open_is_answered(client, nested, where, changes):
    request = json.loads(json.dumps(nested))
    (request if where is dict else where(request)).update(changes)
    client.refusal("bad-request", "open", request)
    assert client.ask("open", nested) == {"notes": []}


def test_more_times_than_a_reply_should_hold_are_refused(client, nested):
    chain = nested["stages"]
    for index in range(1, 100):
        names = [f"{o['name']}{index}" for o in chain[0]["outputs"]]
        outputs = [o | {"name": n} for o, n in zip(chain[0]["outputs"], names, strict=True)]
        chain.append(chain[0] | {"name": f"s{index}", "outputs": outputs})
    assert client.ask("open", nested) == {"notes": []}
    set_nested_inputs(client)
    assert "frames" in client.refusal("bad-request", "run", 1_000_000, 0)
    assert len(client.ask("run", 2, 0)) == 2 * 101 * 8
