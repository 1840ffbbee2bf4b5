"""A cost table from the placement format of "Efficient Algorithms for Device Placement of DNN Graph
Operators" (Tarnawski et al., NeurIPS 2020; github.com/msr-fiddle/dnn-partitioning).

Minimising the interval of the table, with as many stages as there are devices, is minimising the
max-load over contiguous splits. docs/cost-table.md says how the one becomes the other.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

from edgeweave.partition.errors import TableError
from edgeweave.partition.files.json_field import Field, read_json
from edgeweave.runtime.errors import EdgeweaveError

MS = 1e-3
SAME_COST = 1e-6  # ms; edges of one node that differ by no more have one cost


@dataclass(frozen=True)
class Node:
    """An operator or a layer; times in ms, ``size`` in bytes, ``group`` is its colour class."""

    id: int
    cpu: float
    accelerator: float | None  # None: not supported there
    size: float
    is_backward: bool
    group: tuple[str, int]


@dataclass(frozen=True)
class Graph:
    """A graph in the placement format; ``cost[n]`` is that of handing over the output of ``n``."""

    nodes: Mapping[int, Node]
    edges: Sequence[tuple[int, int]]
    cost: Mapping[int, float]
    accelerators: int
    cpus: int
    memory: float


def read_graph(document: Field) -> Graph:
    """Check the document and read it; TableError names the field that is wrong."""
    fields = _known(document, "maxSizePerFPGA", "maxFPGAs", "maxCPUs", "nodes", "edges")
    nodes: dict[int, Node] = {}
    for field in fields["nodes"].items():
        node = _node(field)
        if node.id in nodes:
            raise field.wrong(f"there is a node {node.id} already")
        nodes[node.id] = node
    if not nodes:
        raise fields["nodes"].wrong("the list is empty")
    edges: list[tuple[int, int]] = []
    cost: dict[int, float] = {}
    for field in fields["edges"].items():
        edge = _known(field, "sourceId", "destId", "cost")
        source, target = (_end(edge[name], nodes) for name in ("sourceId", "destId"))
        if source == target:
            raise field.wrong(f"node {source} would read its own output")
        if nodes[source].is_backward and not nodes[target].is_backward:
            raise field.wrong("it leads from a backward node to a forward node")
        known = cost.setdefault(source, edge["cost"].number())
        if abs(known - edge["cost"].number()) > SAME_COST:
            raise edge["cost"].wrong(f"another edge of node {source} costs {known}")
        edges.append((source, target))
    _check_acyclic(fields["edges"], edges)
    accelerators, cpus = fields["maxFPGAs"].count(), fields["maxCPUs"].count()
    if accelerators + cpus == 0:
        raise fields["maxFPGAs"].wrong("there is no device: maxCPUs is 0 as well")
    return Graph(nodes, edges, cost, accelerators, cpus, fields["maxSizePerFPGA"].number())


def _known(field: Field, *names: str) -> dict[str, Field]:
    """The fields of an object, which may hold others too."""
    found = field.entries()
    for name in names:
        if name not in found:
            raise TableError(field.source, f"{field.at(name)}: is missing")
    return found


def _node(field: Field) -> Node:
    names = ("id", "supportedOnFpga", "cpuLatency", "fpgaLatency", "isBackwardNode")
    fields = _known(field, *names)
    number = _integer(fields["id"])
    has_class = "colorClass" in fields
    return Node(
        id=number,
        cpu=fields["cpuLatency"].number(),
        accelerator=fields["fpgaLatency"].number() if _flag(fields["supportedOnFpga"]) else None,
        size=fields["size"].number() if "size" in fields else 0.0,
        is_backward=_flag(fields["isBackwardNode"]),
        group=("class", _integer(fields["colorClass"])) if has_class else ("node", number),
    )


def _integer(field: Field) -> int:
    if isinstance(field.value, bool) or not isinstance(field.value, int):
        raise field.wrong("is not a whole number")
    return field.value


def _flag(field: Field) -> bool:
    """True or false, also written as 1 or 0."""
    if field.value not in (0, 1):
        raise field.wrong("is not true or false, nor 1 or 0")
    return bool(field.value)


def _end(field: Field, nodes: Mapping[int, Node]) -> int:
    number = _integer(field)
    if number not in nodes:
        raise field.wrong(f"there is no node {number}")
    return number


def _check_acyclic(field: Field, edges: Sequence[tuple[int, int]]) -> None:
    try:
        cycle = nx.find_cycle(nx.DiGraph(edges)) if edges else []
    except nx.NetworkXNoCycle:
        return
    if cycle:
        raise field.wrong(f"nodes {' -> '.join(str(a) for a, _ in [*cycle, cycle[0]])} are a cycle")


def regions_of(graph: Graph) -> dict[int, str]:
    """The region of each node: its colour class, with the classes that are in a cycle with it."""
    classes = _class_order(graph)
    for node in graph.nodes.values():
        classes.add_node(node.group)
    least: dict[tuple[str, int], int] = {}
    for cycle in nx.strongly_connected_components(classes):
        first = min(node.id for node in graph.nodes.values() if node.group in cycle)
        least |= dict.fromkeys(cycle, first)
    return {number: f"n{least[node.group]}" for number, node in graph.nodes.items()}


def _class_order(graph: Graph) -> nx.DiGraph[tuple[str, int]]:
    """Which classes must come before which.

    Forward nodes order their classes. A class of backward nodes alone stands where its mirror image
    in the forward part would: its backward edges order it the other way round.
    """
    nodes = graph.nodes
    forward = {node.group for node in nodes.values() if not node.is_backward}
    order: nx.DiGraph[tuple[str, int]] = nx.DiGraph()
    for source, target in graph.edges:
        a, b = nodes[source], nodes[target]
        if a.group == b.group:
            continue
        if not b.is_backward:
            order.add_edge(a.group, b.group)
        elif a.is_backward and not {a.group, b.group} <= forward:
            order.add_edge(b.group, a.group)
    return order


def convert(data: Any, source: str = "placement") -> dict[str, Any]:
    """The cost table, as data for ``read_table``, of a graph in the placement format.

    ``source`` names the graph in errors. Raises TableError with the path to the field.
    """
    graph = read_graph(Field(source, "", data))
    region_of = regions_of(graph)
    devices = [
        {"engine": f"acc{i}", "max_stages": 1, "capacity_bytes": math.floor(graph.memory)}
        for i in range(graph.accelerators)
    ]
    return {
        "schema_version": 1,
        "description": "Converted from a graph in the placement format of NeurIPS 2020.",
        "slots": devices + [{"engine": f"cpu{i}", "max_stages": 1} for i in range(graph.cpus)],
        "regions": _regions(graph, region_of),
        "values": _values(graph, region_of),
        "links": [{"from": "*", "to": "*"}],
    }


def _regions(graph: Graph, region_of: Mapping[int, str]) -> list[dict[str, Any]]:
    members: dict[str, list[Node]] = {}
    for number, node in graph.nodes.items():
        members.setdefault(region_of[number], []).append(node)
    found = []
    for name, nodes in members.items():
        costs: dict[str, Any] = {}
        times = [node.accelerator for node in nodes]
        supported = [time for time in times if time is not None]
        for i in range(graph.accelerators):
            costs[f"acc{i}"] = (
                math.fsum(supported) * MS
                if len(supported) == len(times)
                else {"refused": "placement.unsupported", "reason": "a node is not supported"}
            )
        for i in range(graph.cpus):
            costs[f"cpu{i}"] = math.fsum(node.cpu for node in nodes) * MS
        memory = math.ceil(math.fsum(node.size for node in nodes))
        found.append({"id": name, "memory_bytes": memory, "costs": costs})
    return found


def _values(graph: Graph, region_of: Mapping[int, str]) -> list[dict[str, Any]]:
    """One value per node that others read: paid once per reading stage, and once by the sender.

    One that only some of its readers must wait for orders nothing; a second value, that is free,
    orders those.
    """
    readers: dict[int, set[str]] = {}
    waiting: dict[int, set[str]] = {}
    for source, target in graph.edges:
        if region_of[source] != region_of[target]:
            readers.setdefault(source, set()).add(region_of[target])
            if not graph.nodes[target].is_backward:
                waiting.setdefault(source, set()).add(region_of[target])
    values: list[dict[str, Any]] = []
    unordered: dict[str, set[str]] = {}
    for source, found in readers.items():
        value: dict[str, Any] = {
            "name": f"n{source}",
            "producer": region_of[source],
            "consumers": _listed(found),
            "links": _links(graph, graph.cost[source] * MS),
        }
        if found != waiting.get(source):
            value["feedback"] = True
            unordered.setdefault(region_of[source], set()).update(waiting.get(source, ()))
        values.append(value)
    some = {node.group: number for number, node in graph.nodes.items()}
    for a, b in _class_order(graph).edges:
        first, then = region_of[some[a]], region_of[some[b]]
        if first != then:
            unordered.setdefault(first, set()).add(then)
    ordered = {
        (value["producer"], reader)
        for value in values
        if "feedback" not in value
        for reader in value["consumers"]
    }
    for producer, found in unordered.items():
        free = {reader for reader in found if (producer, reader) not in ordered}
        if free:
            name = f"order after {producer}"
            values.append({"name": name, "producer": producer, "consumers": _listed(free)})
    return values


def _listed(names: set[str]) -> list[str]:
    return sorted(names, key=lambda name: int(name[1:]))


def _links(graph: Graph, seconds: float) -> list[dict[str, Any]]:
    """An accelerator pays for what it sends and for what it receives; a CPU pays nothing."""
    links: list[dict[str, Any]] = [{"from": "*", "to": "*"}]
    if graph.accelerators and seconds:
        sent, received = {"send_fixed_s": seconds}, {"fixed_s": seconds}
        links.append({"from": "acc*", "to": "*"} | sent)
        links.append({"from": "*", "to": "acc*"} | received)
        links.append({"from": "acc*", "to": "acc*"} | sent | received)
    return links


def main(arguments: Sequence[str]) -> int:
    """Convert a file; 2 is the status of input that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path, metavar="IN.json")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.json", help="else stdout")
    options = parser.parse_args(arguments)
    try:
        table = convert(read_json(options.graph), str(options.graph))
    except EdgeweaveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(table, indent=1, allow_nan=False)
    if options.output is None:
        print(text)
        return 0
    try:
        options.output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        print(f"error: {options.output}: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
