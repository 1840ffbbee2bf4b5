import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeweave.runtime.errors import BundleError
from edgeweave.runtime.manifest import FileEntry, Manifest, StageEntry
from edgeweave.runtime.manifest_check import path_fault
from edgeweave.runtime.manifest_json import decode_manifest, encode_manifest
from edgeweave.runtime.spec import ValueSpec

X = ValueSpec("x", "tensor(float)", (1, None))
Y = ValueSpec("y", "seq(tensor(float))", None)
STAGE = StageEntry(
    name="s0",
    engine="cpu0",
    backend="cpu",
    cores=(0, 1),
    kind="tvm",
    folder="stages/s0",
    files=("stage.so",),
    inputs=(X,),
    outputs=(Y,),
    options={"function": "main", "weights": [{"offset": 0}]},
    predicted_s=0.5,
    host_run=None,
)
MANIFEST = Manifest(
    format_version=2,
    model="m.onnx",
    model_digest="ab",
    board="host",
    board_identity="",
    inputs=(X,),
    outputs=(Y,),
    stages=(STAGE,),
    files=(FileEntry("stages/s0/stage.so", "0" * 64, 3),),
    predicted_latency_s=1.0,
    predicted_interval_s=0.5,
    budget_s=None,
    reference=None,
    created_with={"python": "3.11"},
    output_steps={},
)


def document():
    return json.loads(encode_manifest(MANIFEST))


def decode(document):
    return decode_manifest(json.dumps(document).encode())


def test_a_manifest_of_version_1_knew_no_steps_and_is_read():
    old = document() | {"format_version": 1}
    del old["output_steps"]
    assert decode(old) == dataclasses.replace(MANIFEST, format_version=1)
    with pytest.raises(BundleError, match="missing key output_steps"):
        decode(old | {"format_version": 2})


def test_a_manifest_reads_back_as_it_was_written():
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST


numbers = st.floats(0, 1e9)
texts = st.text(max_size=20)


@given(model=texts, latency=numbers, budget=st.none() | numbers, identity=texts)
def test_any_text_and_any_finite_number_survive_the_round_trip(model, latency, budget, identity):
    manifest = dataclasses.replace(
        MANIFEST,
        model=model,
        predicted_latency_s=latency,
        budget_s=budget,
        board_identity=identity,
        created_with={identity: model},
    )
    assert decode_manifest(encode_manifest(manifest)) == manifest


SET = [
    (("novelty",), 1, "unknown key novelty"),
    (("stages", 0, "novelty"), 1, r"unknown key stages\[0\].novelty"),
    (("model",), 3, "model is int, and must be str"),
    (("files", 0, "size"), True, r"files\[0\].size is bool, and must be int"),
    (("files", 0, "size"), 1.5, r"files\[0\].size is float, and must be int"),
    (("files", 0, "size"), -1, "has the size -1"),
    (("files", 0, "sha256"), "0" * 63, "no SHA-256"),
    (("files", 0, "sha256"), "A" * 64, "no SHA-256"),
    (("files", 0, "path"), "/stages/s0/stage.so", "is absolute"),
    (("files", 0, "path"), "stages/../stage.so", "leaves the bundle"),
    (("files", 0, "path"), "stages\\s0", "backslash"),
    (("files", 0, "path"), "./stages/s0/stage.so", "shortest form"),
    (("files", 0, "path"), "", "is empty"),
    (("files", 0, "path"), "manifest.json", "lists itself"),
    (("files", 0, "path"), "other", "which is not listed"),
    (("files",), "abc", "files is str, and must be list"),
    (("stages", 0, "folder"), "../s0", "leaves the bundle"),
    (("stages", 0, "files"), ["../stage.so"], "leaves the bundle"),
    (("stages", 0, "cores"), [-1], "negative core"),
    (("stages", 0, "cores"), ["0"], r"stages\[0\].cores\[0\] is str"),
    (("stages", 0, "host_run"), 1, "host_run is int"),
    (("stages", 0, "options"), [], "options is list, and must be dict"),
    (("stages", 0, "predicted_s"), -1.0, "not negative"),
    (("stages", 0, "predicted_s"), None, "predicted_s is NoneType"),
    (("stages", 0, "inputs", 0, "name"), "z", "'z', which nothing before it produces"),
    (("stages", 0, "outputs", 0, "name"), "x", "value 'x' is listed twice"),
    (("stages", 0, "outputs", 0, "name"), "z", "the model returns 'y'"),
    (("inputs", 0, "shape"), [-1, 2], "negative dimension"),
    (("inputs", 0, "shape"), 4, "shape is int"),
    (("created_with",), {"python": 3}, "created_with.python is int"),
    (("reference",), "reference.onnx", "not among the files"),
    (("format_version",), 0, "no positive integer"),
    (("format_version",), "1", "no positive integer"),
    (("format_version",), True, "no positive integer"),
]


@pytest.mark.parametrize(("path", "value", "message"), SET)
def test_a_wrong_entry_is_refused_by_its_name(path, value, message):
    changed = document()
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BundleError, match=message):
        decode(changed)


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Manifest)])
def test_a_missing_key_is_refused_by_its_name(key):
    changed = document()
    del changed[key]
    with pytest.raises(BundleError, match=key):
        decode(changed)


def test_repeated_stages_files_and_outputs_are_refused():
    for key, what in (("files", "file"), ("stages", "stage"), ("outputs", "output")):
        changed = document()
        changed[key] *= 2
        with pytest.raises(BundleError, match=f"{what} .* is listed twice"):
            decode(changed)


def test_stages_of_one_engine_must_name_the_same_cores():
    changed = document()
    second = {**changed["stages"][0], "name": "s1", "cores": [1]}
    second["outputs"] = [{**second["outputs"][0], "name": "z"}]
    changed["stages"].append(second)
    with pytest.raises(BundleError, match="name different cores"):
        decode(changed)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"[" * 100_000],
)
def test_what_is_no_plain_json_object_is_refused(data):
    with pytest.raises(BundleError, match=r"manifest\.json: it is no"):
        decode_manifest(data)


@given(st.text(alphabet="ab./\\\0", max_size=8))
def test_a_path_that_is_accepted_stays_below_the_root(path):
    if path_fault(path) is None:
        parts = path.split("/")
        assert parts
        assert all(part not in ("", ".", "..") for part in parts)
        assert "\\" not in path
