"""Write the boundaries of planning to a folder, numbered in the order of the flow."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeweave.compiler.errors import CompileError
from edgeweave.partition.costs import CostTable
from edgeweave.partition.files.plan_json import plan_to_json
from edgeweave.partition.files.table_json import table_to_json
from edgeweave.partition.plan import Plan

if TYPE_CHECKING:
    from edgeweave.compiler.model import Model
    from edgeweave.compiler.regions import Regions


class Dump:
    """Writes what passes through it into a folder and returns it; does nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def model(self, model: Model) -> Model:
        """``01-import.onnx``: the canonical model."""
        if self._folder is not None:
            self._write("01-import.onnx", model.proto.SerializeToString(deterministic=True))
        return model

    def regions(self, regions: Regions) -> Regions:
        """``02-regions.json``: the region graph."""
        self._json("02-regions.json", lambda: asdict(regions.graph))
        return regions

    def table(self, table: CostTable) -> CostTable:
        """``03-costs.json``: the cost table, in the public format (docs/cost-table.md)."""
        self._json("03-costs.json", lambda: table_to_json(table))
        return table

    def plan(self, plan: Plan) -> Plan:
        """``04-plan.json``: the plan."""
        self._json("04-plan.json", lambda: plan_to_json(plan))
        return plan

    def _json(self, name: str, data: Any) -> None:
        if self._folder is not None:
            self._write(name, json.dumps(data(), indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(content)
        except OSError as error:
            raise CompileError(
                str(self._folder / name),
                f"cannot be written ({error.strerror})",
                "Name another folder with --dump",
            ) from error
