"""The protocol of a backend: what it refuses, and how it builds and runs a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgeweave.runtime.spec import ValueSpec
from edgeweave.targets.board import Engine
from edgeweave.targets.region import Region

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, order=True)
class Slot:
    """An engine driven by one of its backends: what a region is placed on."""

    engine: str
    backend: str

    def __str__(self) -> str:
        return f"{self.engine}/{self.backend}"


@dataclass(frozen=True)
class Refusal:
    """Why a slot does not take a region: the rule that says so, and the reason in words."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Rule:
    """A support rule: ``check`` returns the reason for a refusal, or None.

    ``text`` is the rule as a sentence; the page of rules is generated from it.
    """

    id: str
    text: str
    check: Callable[[Region, Engine], str | None]


def first_refusal(rules: Sequence[Rule], region: Region, engine: Engine) -> Refusal | None:
    """The refusal by the first rule that speaks against the region on the engine, or None."""
    for rule in rules:
        reason = rule.check(region, engine)
        if reason is not None:
            return Refusal(rule.id, reason)
    return None


@dataclass(frozen=True)
class StageModel:
    """A stage in exchange form: an ONNX model of its own.

    ``inputs`` and ``outputs`` are the values at the stage's border, in the order of the model's
    graph inputs and outputs. ``weights`` names the initializers that are passed to the built code
    as parameters; the other initializers are constants of the code.
    """

    name: str
    slot: Slot
    regions: tuple[Region, ...]
    model: onnx.ModelProto
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class VendorEstimate:
    """What a vendor's own tool says a whole stage takes: seconds of a call, by its own model.

    ``details`` is JSON data: the tool with its version, every setting that the figure depends on,
    and what else the tool reports (cycles, bytes moved).
    """

    seconds: float
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Artifact:
    """What a backend built: files in a folder of their own and how the runtime opens them.

    ``kind`` names the runner in ``edgeweave.runtime.runners``. ``files`` are names inside
    ``folder``. ``options`` is JSON data for the runner. ``host_run`` is the honest word for what a
    run of it on this machine shows: ``measured``, ``emulated``, ``reference``, or None when it
    cannot run here. ``estimate`` is the vendor's own figure for the stage, where there is one.
    """

    kind: str
    folder: Path
    files: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    host_run: Literal["measured", "emulated", "reference"] | None = None
    estimate: VendorEstimate | None = None


class Backend(Protocol):
    """How code for an engine is made and run."""

    name: str
    consumes: Literal["onnx", "tensorir"]
    # whether what it builds carries the vendor's own figure, and stands for it when run here
    estimates: bool

    def missing(self) -> str:
        """What has to be installed before it can build, as a sentence; "" when nothing is."""
        ...

    @property
    def rules(self) -> Sequence[Rule]:
        """The static support rules, in the order they are checked."""
        ...

    def refusal(self, region: Region, engine: Engine) -> Refusal | None:
        """The first rule that speaks against the region on the engine, or None."""
        ...

    def target(self, engine: Engine) -> Any:
        """The ``tvm.target.Target`` a stage is lowered for; None for one that consumes ``onnx``."""
        ...

    def build(self, stage: StageModel, lowered: Any, engine: Engine, folder: Path) -> Artifact:
        """Build the stage into ``folder``.

        ``lowered`` is the stage's scheduled ``tvm.IRModule`` for a backend that consumes
        ``tensorir`` and None for one that consumes ``onnx``. Raises BuildError.
        """
        ...

    def fingerprint(self) -> str:
        """Versions of all that can change what is built; part of every cache key."""
        ...
