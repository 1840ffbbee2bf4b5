"""Write docs/cli.md from the command line's own help, and docs/supported-ops.md from the rules.

``--check`` writes nothing, and exits 1 naming the pages that are not current.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
NOTE = "<!-- Written by scripts/gen_docs.py; do not edit. -->\n"


def command_sections(command: click.Command, path: str) -> Iterator[str]:
    """A section with the help of the command, then those of its subcommands, by name."""
    context = click.Context(command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH)
    level = "#" * min(6, 2 + path.count(" "))
    yield f"{level} {path}\n\n```\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            subcommand = command.get_command(context, name)
            if subcommand is not None and not subcommand.hidden:
                yield from command_sections(subcommand, f"{path} {name}")


def rule_section(backend: str, rules: Iterable[tuple[str, str]]) -> str:
    """A table of a backend's rules, given as (id, sentence), in the order they are checked."""
    rows = [f"| `{rule}` | {text.replace('|', chr(92) + '|')} |" for rule, text in rules]
    return "\n".join([f"## {backend}\n", "| rule | what it asks for |", "|---|---|", *rows]) + "\n"


def cli_page() -> str:
    """The page of every command and its options."""
    from edgeweave.compiler.cli import program

    return "\n".join([NOTE, "# The command line\n", *command_sections(program, "edgeweave")])


def rules_page() -> str:
    """The page of what every backend takes, and of the rule that holds for all of them."""
    from edgeweave.targets.registry import backend_names, find_backend
    from edgeweave.targets.rules import PRECISION_RULE

    intro = (
        "A backend takes a region on an engine unless one of these rules speaks against it. The\n"
        "first that does is the refusal's reason in the plan; `edgeweave rules` prints the same.\n"
    )
    sections = [rule_section("every backend", [(PRECISION_RULE.id, PRECISION_RULE.text)])]
    for name in backend_names():
        rules = [(rule.id, rule.text) for rule in find_backend(name).rules]
        sections.append(rule_section(name, rules))
    return "\n".join([NOTE, "# What each backend takes\n", intro, *sections])


def stale_pages(pages: dict[Path, str]) -> list[Path]:
    """The pages whose file is missing or holds another text."""
    return [
        path
        for path, text in pages.items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write the pages that are not current, or only name them; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    options = parser.parse_args(arguments)
    docs = ROOT / "docs"
    pages = {docs / "cli.md": cli_page(), docs / "supported-ops.md": rules_page()}
    stale = stale_pages(pages)
    for path in stale:
        if options.check:
            print(f"{path.relative_to(ROOT)} is not current. Run: python scripts/gen_docs.py")
        else:
            path.write_text(pages[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
