"""Graphs in the placement format as cost tables: the same splits cost the same."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

from edgeweave.partition.errors import TableError
from edgeweave.partition.evaluate import evaluate
from edgeweave.partition.files.table_json import read_table
from edgeweave.partition.plan import Objective, Request
from edgeweave.partition.solve import solve

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "convert_placement.py"
DATA = ROOT.parent / "shared" / "data" / "partition"


@pytest.fixture(scope="module")
def converter():
    spec = importlib.util.spec_from_file_location("convert_placement", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def node(number, cpu, accelerator, **others):
    entry = {"id": number, "supportedOnFpga": 1, "cpuLatency": cpu, "fpgaLatency": accelerator}
    return entry | {"isBackwardNode": 0, "size": 1.0} | others


def edges(costs, *pairs):
    return [{"sourceId": a, "destId": b, "cost": costs[a]} for a, b in pairs]


def graph(nodes, found, accelerators=2, cpus=1, memory=100.0):
    return {
        "maxSizePerFPGA": memory, "maxFPGAs": accelerators, "maxCPUs": cpus,
        "nodes": nodes, "edges": found,
    }  # fmt: skip


def inference():
    """0 feeds 1 and 2, both feed 3; 1 and 2 share a colour, 3 is for the CPU only."""
    nodes = [
        node(0, 9, 1),
        node(1, 9, 2, colorClass=7),
        node(2, 9, 3, colorClass=7),
        node(3, 4, 1, supportedOnFpga=False),
    ]
    return graph(nodes, edges([0.5, 0.25, 0.125], (0, 1), (0, 2), (1, 3), (2, 3)))


def training():
    """0 -> 1 -> 2 forward, 12 -> 11 -> 10 backward, 20 backward alone between 12 and 10."""
    nodes = [node(n, 3, n + 1, colorClass=n) for n in range(3)]
    nodes += [node(10 + n, 3, 2 * n + 1, colorClass=n, isBackwardNode=1) for n in range(3)]
    nodes.append(node(20, 3, 4, isBackwardNode=True))
    pairs = [(0, 1), (1, 2), (2, 12), (0, 10), (12, 11), (11, 10), (12, 20), (20, 10)]
    costs = {0: 0.5, 1: 0.25, 2: 0.125, 12: 0.0625, 11: 1.5, 20: 2.5}
    return graph(nodes, edges(costs, *pairs))


def max_load(data, device_of):
    """The load of the busiest device in ms: the format's own definition, from its nodes."""
    load = {}
    for entry in data["nodes"]:
        device = device_of[entry["id"]]
        time = entry["cpuLatency" if device.startswith("cpu") else "fpgaLatency"]
        load[device] = load.get(device, 0.0) + time
    cost = {edge["sourceId"]: edge["cost"] for edge in data["edges"]}
    crossing = {
        (edge["sourceId"], device_of[edge["destId"]])
        for edge in data["edges"]
        if device_of[edge["sourceId"]] != device_of[edge["destId"]]
    }
    for source, reader in crossing:
        load[reader] += cost[source] * reader.startswith("acc")
    for source in {source for source, _ in crossing}:
        sender = device_of[source]
        load[sender] += cost[source] * sender.startswith("acc")
    return max(load.values())


def interval_of(converter, data, device_of):
    """The interval of the converted table in ms, for the same split of the nodes."""
    table = read_table(json.loads(json.dumps(converter.convert(data))))
    regions = {name: r for r, name in enumerate(table.regions)}
    names = converter.regions_of(converter.read_graph(converter.Field("", "", data)))
    parts = {}
    for number, device in device_of.items():
        parts.setdefault(device, set()).add(regions[names[number]])
    device = {r: name for name, part in parts.items() for r in part}
    assert sum(map(len, parts.values())) == len(table.regions)
    order = nx.DiGraph()
    order.add_nodes_from(parts)
    for value in table.values:
        for reader in () if value.feedback else value.consumers:
            if device[reader] != device[value.producer]:
                order.add_edge(device[value.producer], device[reader])
    engines = [slot.engine for slot in table.slots]
    stages = [
        (engines.index(name), tuple(sorted(parts[name]))) for name in nx.topological_sort(order)
    ]
    return evaluate(table, stages).interval_s * 1e3


def test_a_split_of_a_graph_has_its_max_load_as_interval(converter):
    data = inference()
    split = {0: "acc0", 1: "acc1", 2: "acc1", 3: "cpu0"}
    # acc1: 2 + 3, receives 0 once, sends 1 and 2; the CPU pays nothing
    assert max_load(data, split) == 5 + 0.5 + 0.25 + 0.125
    assert interval_of(converter, data, split) == pytest.approx(5.875, rel=1e-12)


def test_a_device_that_would_run_twice_is_no_stage(converter):
    split = {0: "cpu0", 1: "acc1", 2: "acc1", 3: "cpu0"}
    with pytest.raises(nx.NetworkXUnfeasible):
        interval_of(converter, inference(), split)


def test_a_split_of_a_training_graph_has_its_max_load_as_interval(converter):
    data = training()
    groups = {0: (0, 10), 1: (1, 11), 2: (2, 12), 3: (20,)}
    found = set()
    for devices in (
        ("acc0", "acc0", "acc0", "acc0"),
        ("acc0", "acc0", "acc1", "acc0"),
        ("acc0", "acc1", "cpu0", "acc1"),
        ("cpu0", "acc0", "acc1", "acc0"),
        ("acc1", "cpu0", "acc0", "cpu0"),
    ):
        split = {n: devices[g] for g, members in groups.items() for n in members}
        load = max_load(data, split)
        found.add(load)
        assert interval_of(converter, data, split) == pytest.approx(load, rel=1e-12)
    assert len(found) >= 4


def test_a_backward_class_alone_is_ordered_as_its_mirror_image(converter):
    table = read_table(converter.convert(training()))
    order = {
        (table.regions[v.producer], table.regions[c])
        for v in table.values
        if not v.feedback
        for c in v.consumers
    }
    assert order == {("n0", "n1"), ("n1", "n2"), ("n0", "n20"), ("n20", "n2")}


def test_an_output_for_both_parts_is_one_value_and_an_order_that_is_free(converter):
    data = training()
    data["edges"] += edges({1: 0.25}, (1, 10))  # 1 is read by 2 forward and by 10 backward
    table = read_table(converter.convert(data))
    made = [v for v in table.values if v.producer == table.regions.index("n1")]
    feedback = {v.name: v.feedback for v in made}
    assert feedback == {"n1": True, "n11": True, "order after n1": False}
    split = {0: "acc1", 10: "acc1", 1: "acc0", 11: "acc0", 2: "cpu0", 12: "cpu0", 20: "acc0"}
    load = max_load(data, split)
    assert interval_of(converter, data, split) == pytest.approx(load, rel=1e-12)


def test_classes_in_a_cycle_are_one_region(converter):
    nodes = [node(0, 1, 1, colorClass=1), node(1, 1, 1, colorClass=2), node(2, 1, 1, colorClass=1)]
    data = graph([*nodes, node(3, 1, 1)], edges([1, 1, 1], (0, 1), (1, 2), (2, 3)))
    table = read_table(converter.convert(data))
    assert table.regions == ("n0", "n3")
    assert [value.name for value in table.values] == ["n2"]


def test_regions_hold_the_sums_of_their_nodes(converter):
    data = converter.convert(inference())
    merged = next(region for region in data["regions"] if region["id"] == "n1")
    assert merged["memory_bytes"] == 2
    assert merged["costs"] == {
        "acc0": pytest.approx(0.005), "acc1": pytest.approx(0.005), "cpu0": pytest.approx(0.018)
    }  # fmt: skip
    last = next(region for region in data["regions"] if region["id"] == "n3")
    assert last["costs"]["acc0"]["refused"] == "placement.unsupported"
    table = read_table(data)
    assert table.capacity_bytes == (100, 100, None)
    assert table.engine_stages == (1, 1, 1)


def test_a_graph_for_accelerators_alone_or_the_cpu_alone_is_converted(converter):
    nodes = [node(0, 2, 1), node(1, 2, 1)]
    for counts, engines in (((2, 0), {"acc0", "acc1"}), ((0, 2), {"cpu0", "cpu1"})):
        data = graph(nodes, edges([1], (0, 1)), *counts)
        assert {slot.engine for slot in read_table(converter.convert(data)).slots} == engines


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("maxFPGAs"), "maxFPGAs: is missing"),
        (lambda d: d.update(nodes=[]), "nodes: the list is empty"),
        (lambda d: d.update(maxFPGAs=0, maxCPUs=0), "maxFPGAs: there is no device"),
        (lambda d: d["nodes"][1].update(id=0), "nodes[1]: there is a node 0 already"),
        (lambda d: d["nodes"][1].update(id="1"), "nodes[1].id: is not a whole number"),
        (lambda d: d["nodes"][1].update(id=True), "nodes[1].id: is not a whole number"),
        (lambda d: d["nodes"][1].update(cpuLatency=-1), "nodes[1].cpuLatency: -1 is negative"),
        (lambda d: d["nodes"][1].pop("fpgaLatency"), "nodes[1].fpgaLatency: is missing"),
        (lambda d: d["nodes"][1].update(isBackwardNode=2), "nodes[1].isBackwardNode: is not true"),
        (lambda d: d["edges"][0].update(destId=9), "edges[0].destId: there is no node 9"),
        (lambda d: d["edges"][0].update(destId=0), "edges[0]: node 0 would read its own output"),
        (lambda d: d["edges"][0].update(cost=float("nan")), "edges[0].cost: NaN is not a finite"),
        (lambda d: d["edges"][1].update(cost=3), "edges[1].cost: another edge of node 0 costs 0.5"),
        (lambda d: d["nodes"][0].update(isBackwardNode=1), "edges[0]: it leads from a backward"),
        (lambda d: d["edges"].append({"sourceId": 3, "destId": 0, "cost": 1}),
         "edges: nodes 0 -> 1 -> 3 -> 0 are a cycle"),
    ],
)  # fmt: skip
def test_a_wrong_graph_is_told_by_the_path_to_the_field(converter, change, told):
    data = inference()
    change(data)
    with pytest.raises(TableError) as error:
        converter.convert(data, "in.json")
    assert error.value.subject == "in.json"
    assert error.value.reason.startswith(told)


def script(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_writes_a_table_to_a_file_or_to_stdout(tmp_path):
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps(inference()))
    done = script(source, "-o", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    printed = script(source)
    assert json.loads(printed.stdout) == json.loads(target.read_text())
    assert read_table(target).regions == ("n0", "n1", "n3")


def test_the_script_ends_with_2_and_one_line_for_what_it_cannot_convert(tmp_path):
    source = tmp_path / "in.json"
    source.write_text("{}")
    done = script(source)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {source}: maxSizePerFPGA: is missing\n"
    source.write_text(json.dumps(inference()))
    done = script(source, "-o", tmp_path / "none" / "out.json")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("LayerGraphs-bert24_inference", 17.7899),
        ("LayerGraphs-gnmt_inference", 32.9107),
        ("LayerGraphs-resnet50_inference", 33.7747),
        ("OperatorGraphs-bert_l-3_inference", 27.9186),
    ],
)
def test_published_graphs_are_converted_and_no_bound_passes_their_best_load(converter, name, best):
    path = DATA / f"throughput-{name}.json"
    if not path.is_file():
        pytest.skip("the published graphs are not at hand")
    table = read_table(converter.convert(json.loads(path.read_text("utf-8"))))
    stages = len(table.engines)
    plan = solve(table, Request(Objective.INTERVAL, max_stages=stages, time_limit_s=1), name)
    assert plan.certificate.bound * 1e3 <= best + 1e-4
    assert plan.interval_s * 1e3 >= best - 1e-4
