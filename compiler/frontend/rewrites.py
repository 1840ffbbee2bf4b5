"""The rewrites of the front end, in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx_ir as ir

from edgeweave.compiler.errors import ModelError
from edgeweave.compiler.frontend.batch_norm import fold_scales
from edgeweave.compiler.frontend.conditionals import inline_conditionals
from edgeweave.compiler.frontend.constants import fold_constants
from edgeweave.compiler.frontend.dead_code import remove_dead_code
from edgeweave.compiler.frontend.denormals import flush_denormals, flush_tiny_weights
from edgeweave.compiler.frontend.dequantize import dequantize_per_reader
from edgeweave.compiler.frontend.duplicates import remove_duplicates
from edgeweave.compiler.frontend.functions import inline_functions
from edgeweave.compiler.frontend.opset_upgrade import upgrade_opset
from edgeweave.compiler.frontend.refusal import one_line
from edgeweave.compiler.frontend.sums import split_sums
from edgeweave.compiler.frontend.zero_channels import remove_zero_channels


@dataclass(frozen=True)
class RewriteRule:
    """A rewrite that keeps what the model computes: ``apply`` works in place and counts."""

    name: str
    description: str
    apply: Callable[[ir.Model], int]


REWRITES: tuple[RewriteRule, ...] = (
    RewriteRule(
        "functions", "Replace calls of model-local functions by their body.", inline_functions
    ),
    RewriteRule("opset", "Upgrade an operator set below 13 to 13.", upgrade_opset),
    RewriteRule("sum", "Write a Sum of many values as a chain of Add.", split_sums),
    RewriteRule(
        "constants", "Compute what does not depend on the inputs once, here.", fold_constants
    ),
    RewriteRule(
        "if", "Replace an If of constant condition by the branch it takes.", inline_conditionals
    ),
    RewriteRule(
        "identity",
        "Remove Identity, Dropout of inference, and what nobody reads.",
        remove_dead_code,
    ),
    RewriteRule("duplicates", "Compute equal nodes with equal inputs once.", remove_duplicates),
    RewriteRule("denormals", "Set denormal weights to zero.", flush_denormals),
    RewriteRule(
        "batch-norm",
        "Fold batch normalisation and per-channel Mul and Add into the layer before.",
        fold_scales,
    ),
    RewriteRule(
        "tiny-weights",
        "Set weights below 1e-20 to zero in layers that hold ordinary ones.",
        flush_tiny_weights,
    ),
    RewriteRule(
        "zero-channels",
        "Remove channels that are always zero or that nobody reads.",
        remove_zero_channels,
    ),
    RewriteRule(
        "dequantize",
        "Give every reader of a dequantised value a DequantizeLinear of its own.",
        dequantize_per_reader,
    ),
)
# These make work for each other: a branch inlined brings constants, a constant decides a branch.
_REPEATED = ("constants", "if", "identity")


class RewriteFailure(Exception):  # noqa: N818 - caught and turned into a warning
    """A rewrite could not be done; ``rule`` names it."""

    def __init__(self, rule: str, reason: str) -> None:
        self.rule = rule
        super().__init__(reason)


def check_names(skip: Collection[str]) -> None:
    """Raise ``ModelError`` for a name in ``skip`` that is no rewrite."""
    known = [rule.name for rule in REWRITES]
    for name in skip:
        if name not in known:
            raise ModelError(
                f"rewrite {name!r}", "there is no such rewrite", f"Rewrites: {', '.join(known)}"
            )


def apply_rewrites(model: ir.Model, skip: Collection[str]) -> dict[str, int]:
    """Apply every rewrite not in ``skip`` to ``model`` in place; how often each applied.

    Raises ``RewriteFailure`` naming the rewrite that cannot be done; the model is spoilt then.
    """
    counts: dict[str, int] = {}
    for rule in REWRITES:
        if rule.name not in skip:
            counts[rule.name] = _apply(rule, model)
        if rule.name == _REPEATED[-1]:
            _repeat(model, skip, counts)
    return counts


def _repeat(model: ir.Model, skip: Collection[str], counts: dict[str, int]) -> None:
    rules = [rule for rule in REWRITES if rule.name in _REPEATED and rule.name not in skip]
    while counts.get("if"):
        gained = {rule.name: _apply(rule, model) for rule in rules}
        for name, count in gained.items():
            counts[name] += count
        if not any(gained.values()):
            return


def _apply(rule: RewriteRule, model: ir.Model) -> int:
    try:
        return rule.apply(model)
    except Exception as error:
        raise RewriteFailure(rule.name, one_line(error)) from error
