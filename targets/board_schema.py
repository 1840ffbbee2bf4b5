"""The schema of a board file: every key, its type, and what a mistake in it is called.

docs/board-format.md describes the format for its users.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

from edgeweave.targets.board import Board, Engine, Link, Quantity
from edgeweave.targets.errors import TargetError
from edgeweave.targets.registry import backend_names

KINDS = ("cpu", "gpu", "npu", "dsp")
PRECISIONS = ("float32", "float16", "int8")
# Words a board file may use although this installation may lack the backend: a region is then
# refused there with the rule backend.missing, which says more than a file that does not load.
BACKEND_WORDS = (
    "cpu",
    "onnxruntime",
    "gpu_opencl",
    "gpu_cuda",
    "npu_ethos_u",
    "dsp_hexagon",
    "c_source",
    "handoff",
    "fake",
)

_UNITS = ("_ghz", "_gops", "_us", "_mib", "_gb_s", "_w")
_PEAKS = {f"peak_{precision}_gops": precision for precision in PRECISIONS}
_BOARD_KEYS = ("name", "description", "revision", "memory", "engine", "link")
_ENGINE_REQUIRED = (
    "name",
    "kind",
    "description",
    "backends",
    "compute_efficiency",
    "memory_efficiency",
    "call_overhead_us",
)
_CPU_KEYS = ("cores", "llvm_target")
_ENGINE_OPTIONAL = ("clock_ghz", "memory_mib", "weights_mib", "power_w")
_ENGINE_KEYS = (*_ENGINE_REQUIRED, *_PEAKS, *_ENGINE_OPTIONAL, *_CPU_KEYS, "vendor")
_CONTENTION_KEYS = ("contention_knee_gb_s", "contention_slope")
_MEMORY_KEYS = ("dram_gb_s", *_CONTENTION_KEYS)
_LINK_KEYS = ("between", "bandwidth_gb_s", "latency_us")
_TARGET_KEYS = ("mtriple", "mcpu", "mattr")


def parse_board(text: str, where: str) -> Board:
    """The board that the TOML text describes; ``where`` names the file in errors.

    Raises TargetError naming the file and the key for whatever the format does not allow.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(where, f"is not valid TOML: {error}") from error
    return _Reader(where).board(data)


class _Reader:
    """Reads the tables of one file; every error carries its name."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, key: str, reason: str, next_step: str = "") -> TargetError:
        return TargetError(self.where, f"key {key}: {reason}", next_step)

    def board(self, data: Mapping[str, Any]) -> Board:
        self.keys(data, "", _BOARD_KEYS, ("name", "description", "memory", "engine"))
        name = self.text(data, "", "name")
        if name == "host":
            raise self.fail("name", '"host" is the name of the machine edgeweave runs on')
        memory = self.table(data["memory"], "memory")
        self.keys(memory, "memory", _MEMORY_KEYS, ("dram_gb_s",))
        dram = self.quantity(memory, "memory", "dram_gb_s")
        contention = {
            k: self.quantity(memory, "memory", k) for k in _CONTENTION_KEYS if k in memory
        }
        self.check_contention(contention, dram)
        engines = tuple(
            self.engine(table, f"engine[{i}]")
            for i, table in enumerate(self.tables(data["engine"], "engine"))
        )
        self.check_engines(engines)
        links = tuple(
            self.link(table, f"link[{i}]", tuple(e.name for e in engines))
            for i, table in enumerate(self.tables(data.get("link", []), "link"))
        )
        self.check_links(engines, links)
        revision = self.text(data, "", "revision") if "revision" in data else ""
        return Board(
            name=name,
            description=self.text(data, "", "description"),
            engines=engines,
            links=links,
            dram_gb_s=dram,
            identity=f"{name} {revision}".strip(),
            contention_knee_gb_s=contention.get("contention_knee_gb_s"),
            contention_slope=contention.get("contention_slope"),
        )

    def check_contention(self, stated: Mapping[str, Quantity], dram: Quantity) -> None:
        """A slope belongs to a knee, and a knee is no more than the memory can deliver."""
        knee = stated.get("contention_knee_gb_s")
        if knee is None and stated:
            raise self.fail(
                "memory.contention_slope",
                "needs contention_knee_gb_s, above which it counts",
                "Add the knee, or leave out both",
            )
        if knee is not None and knee.value > dram.value:
            raise self.fail(
                "memory.contention_knee_gb_s",
                f"{knee.value:g} is above the {dram.value:g} of dram_gb_s",
                "Engines slow each other down no later than at the memory's bandwidth",
            )

    def engine(self, table: Mapping[str, Any], position: str) -> Engine:
        at = f"engine.{table['name']}" if isinstance(table.get("name"), str) else position
        self.keys(table, at, _ENGINE_KEYS, _ENGINE_REQUIRED)
        kind = self.text(table, at, "kind")
        if kind not in KINDS:
            raise self.fail(f"{at}.kind", f"unknown engine kind {kind!r}", _choose(kind, KINDS))
        peaks = {
            precision: self.quantity(table, at, key)
            for key, precision in _PEAKS.items()
            if key in table
        }
        if not peaks:
            raise self.fail(at, "has no peak", f"Give at least one of {', '.join(_PEAKS)}")
        self.check_kind(table, at, kind, peaks)
        return Engine(
            name=self.text(table, at, "name"),
            kind=kind,
            description=self.text(table, at, "description"),
            backends=self.backends(table, at),
            peak_gops=peaks,
            compute_efficiency=self.share(table, at, "compute_efficiency"),
            memory_efficiency=self.share(table, at, "memory_efficiency"),
            call_overhead_us=self.quantity(table, at, "call_overhead_us"),
            cores=self.cores(table, at) if kind == "cpu" else (),
            llvm_target=self.llvm_target(table, at) if kind == "cpu" else {},
            vendor=self.vendor(table, at) if "vendor" in table else {},
            **{k: self.quantity(table, at, k) for k in _ENGINE_OPTIONAL if k in table},
        )

    def check_kind(
        self, table: Mapping[str, Any], at: str, kind: str, peaks: Mapping[str, Quantity]
    ) -> None:
        """A CPU engine has cores, a target and a float32 peak; no other engine has cores."""
        for key in _CPU_KEYS:
            if kind == "cpu" and key not in table:
                raise self.fail(f"{at}.{key}", "missing; a cpu engine needs it")
            if kind != "cpu" and key in table:
                raise self.fail(f"{at}.{key}", f"belongs to cpu engines; this is a {kind}")
        if kind == "cpu" and "float32" not in peaks:
            raise self.fail(f"{at}.peak_float32_gops", "missing; a cpu engine needs it")

    def link(self, table: Mapping[str, Any], at: str, engines: tuple[str, ...]) -> Link:
        self.keys(table, at, _LINK_KEYS, _LINK_KEYS)
        ends = self.strings(table["between"], f"{at}.between")
        if len(ends) != 2 or ends[0] == ends[1]:
            raise self.fail(f"{at}.between", "must name two different engines")
        for end in ends:
            if end not in engines:
                raise self.fail(f"{at}.between", f"unknown engine {end!r}", _choose(end, engines))
        at = f"link.{ends[0]}-{ends[1]}"
        return Link(
            between=(ends[0], ends[1]),
            bandwidth_gb_s=self.quantity(table, at, "bandwidth_gb_s"),
            latency_us=self.quantity(table, at, "latency_us"),
        )

    def check_engines(self, engines: tuple[Engine, ...]) -> None:
        names = [engine.name for engine in engines]
        for name in names:
            if names.count(name) > 1:
                raise self.fail(f"engine.{name}", "is described twice", "Rename one of them")
        if all(engine.kind != "cpu" for engine in engines):
            raise self.fail("engine", "no engine is of kind cpu; a board needs one")
        for a, b in combinations(engines, 2):
            shared = sorted(set(a.cores) & set(b.cores))
            if shared:
                raise self.fail(f"engine.{b.name}.cores", f"core {shared[0]} is also of {a.name}")

    def check_links(self, engines: tuple[Engine, ...], links: tuple[Link, ...]) -> None:
        pairs = [frozenset(link.between) for link in links]
        for link, pair in zip(links, pairs, strict=True):
            if pairs.count(pair) > 1:
                raise self.fail(f"link.{'-'.join(link.between)}", "is described twice")
        for a, b in combinations(engines, 2):
            if frozenset((a.name, b.name)) not in pairs:
                raise self.fail(
                    "link",
                    f"no link joins {a.name} and {b.name}",
                    f'Add a [[link]] with between = ["{a.name}", "{b.name}"]',
                )

    def keys(
        self, table: Mapping[str, Any], at: str, known: Collection[str], required: Collection[str]
    ) -> None:
        for key in table:
            if key not in known:
                raise self.fail(_dotted(at, key), "unknown key", _advice(key, known))
        for key in required:
            if key not in table:
                raise self.fail(_dotted(at, key), "missing")

    def table(self, value: object, at: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(at, f"must be a table, not {_kind_of(value)}")
        return value

    def tables(self, value: object, at: str) -> list[Mapping[str, Any]]:
        if not isinstance(value, list):
            raise self.fail(at, f"must be written as [[{at}]], not as {_kind_of(value)}")
        return [self.table(item, f"{at}[{i}]") for i, item in enumerate(value)]

    def text(self, table: Mapping[str, Any], at: str, key: str) -> str:
        value = table[key]
        if not isinstance(value, str):
            raise self.fail(_dotted(at, key), f"must be a string, not {_kind_of(value)}")
        if not value.strip():
            raise self.fail(_dotted(at, key), "must not be empty")
        return value

    def strings(self, value: object, at: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(at, f"must be an array of strings, not {_kind_of(value)}")
        return tuple(value)

    def backends(self, table: Mapping[str, Any], at: str) -> tuple[str, ...]:
        words = self.strings(table["backends"], f"{at}.backends")
        if not words:
            raise self.fail(f"{at}.backends", "must name at least one backend")
        for word in words:
            if words.count(word) > 1:
                raise self.fail(f"{at}.backends", f"names {word!r} twice")
            if word not in BACKEND_WORDS and word not in backend_names():
                known = (*BACKEND_WORDS, *backend_names())
                raise self.fail(f"{at}.backends", f"unknown backend {word!r}", _choose(word, known))
        return words

    def cores(self, table: Mapping[str, Any], at: str) -> tuple[int, ...]:
        value = table["cores"]
        good = isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
        if not good or not value or len(set(value)) < len(value):
            raise self.fail(f"{at}.cores", "must be an array of different core numbers, 0 and up")
        return tuple(value)

    def llvm_target(self, table: Mapping[str, Any], at: str) -> Mapping[str, str | tuple[str, ...]]:
        at = f"{at}.llvm_target"
        target = self.table(table["llvm_target"], at)
        self.keys(target, at, _TARGET_KEYS, ("mtriple", "mcpu"))
        read: dict[str, str | tuple[str, ...]] = {
            key: self.text(target, at, key) for key in ("mtriple", "mcpu")
        }
        if "mattr" in target:
            read["mattr"] = self.strings(target["mattr"], f"{at}.mattr")
        return read

    def vendor(self, table: Mapping[str, Any], at: str) -> Mapping[str, str]:
        """Settings of a vendor's compiler; which there are is up to the backend."""
        at = f"{at}.vendor"
        settings = self.table(table["vendor"], at)
        return {key: self.text(settings, at, key) for key in settings}

    def share(self, table: Mapping[str, Any], at: str, key: str) -> Quantity:
        quantity = self.quantity(table, at, key)
        if quantity.value > 1:
            raise self.fail(f"{at}.{key}", f"{quantity.value} is not a share above 0 and up to 1")
        return quantity

    def quantity(self, table: Mapping[str, Any], at: str, key: str) -> Quantity:
        """``{ value = 1.8, origin = "…" }``: a positive finite number and where it comes from."""
        at, value = f"{at}.{key}", table[key]
        example = f'Write {key} = {{ value = 1.0, origin = "the document, or UNSOURCED: …" }}'
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise self.fail(at, "a number without an origin", example)
        if not isinstance(value, dict):
            raise self.fail(at, f"must be a table, not {_kind_of(value)}", example)
        if "origin" not in value and "value" in value:
            raise self.fail(at, "a number without an origin", example)
        self.keys(value, at, ("value", "origin"), ("value", "origin"))
        number, origin = value["value"], value["origin"]
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self.fail(f"{at}.value", f"must be a number, not {_kind_of(number)}")
        if not 0 < number < math.inf:
            raise self.fail(f"{at}.value", f"{number} is not a positive number")
        if not isinstance(origin, str):
            raise self.fail(f"{at}.origin", f"must be a string, not {_kind_of(origin)}")
        if not origin.strip():
            raise self.fail(f"{at}.origin", "must not be empty", example)
        return Quantity(float(number), origin.strip())


def _dotted(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _kind_of(value: object) -> str:
    """What TOML calls the type of the value."""
    names = {
        "bool": "a boolean",
        "int": "a number",
        "float": "a number",
        "str": "a string",
        "list": "an array",
        "dict": "a table",
    }
    return names.get(type(value).__name__, "a date or time")


def _stem(key: str) -> str:
    for unit in _UNITS:
        key = key.removesuffix(unit)
    return key


def _advice(key: str, known: Collection[str]) -> str:
    """What was meant by an unknown key: one without its unit, or one that is spelt alike."""
    for candidate in known:
        stem = _stem(candidate)
        if stem != candidate and (key == stem or key.startswith(f"{stem}_")):
            return f"Units belong in the key name: write {candidate}"
    return _choose(key, known)


def _choose(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known are {', '.join(dict.fromkeys(known))}"
