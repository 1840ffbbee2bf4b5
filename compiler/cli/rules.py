"""``edgeweave rules``."""

from __future__ import annotations

import json

import click

from edgeweave.compiler.cli.settings import verb


@verb("rules", "Show what backends refuse.")
@click.argument("backend", required=False)
def command(backend: str | None, as_json: bool) -> None:
    """Show the rules by which a backend refuses regions; without BACKEND, those of all."""
    from edgeweave.targets.registry import backend_names, find_backend
    from edgeweave.targets.rules import PRECISION_RULE

    names = backend_names() if backend is None else (backend,)
    rules = {"every backend": [PRECISION_RULE]}
    rules |= {name: list(find_backend(name).rules) for name in names}
    if as_json:
        data = {name: [{"id": r.id, "text": r.text} for r in own] for name, own in rules.items()}
        click.echo(json.dumps(data, indent=1))
        return
    width = max(len(rule.id) for own in rules.values() for rule in own)
    for name, own in rules.items():
        click.echo(name)
        for rule in own:
            click.echo(f"  {rule.id.ljust(width)}  {rule.text}")
