"""Write targets/npu_ethos_u/constraints.json: what Vela says of each TFLite operator, as installed.

``--check`` writes nothing, and exits 1 when the file is not what would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATH = ROOT / "targets" / "npu_ethos_u" / "constraints.json"
ARCHITECTURES = ("EthosU55", "EthosU65", "EthosU85")


def constraints_text() -> str:
    """The file: sentences once, and per architecture and operator the numbers of its sentences."""
    from ethosu import regor

    sentences: dict[str, int] = {}
    operators: dict[str, dict[str, list[int]]] = {}
    for architecture in ARCHITECTURES:
        found = regor.tflite_operator_constraints(architecture)
        operators[architecture] = {
            name: [sentences.setdefault(text, len(sentences)) for text in found[name]]
            for name in sorted(found)
        }
    parts = [f'"vela": {json.dumps(version("ethos-u-vela"))}']
    parts.append('"sentences": [\n' + ",\n".join(f"  {json.dumps(s)}" for s in sentences) + "\n]")
    for architecture, rows in operators.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {numbers}" for name, numbers in rows.items())
        parts.append(f'"{architecture}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write the file, or only compare it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    options = parser.parse_args(arguments)
    text = constraints_text()
    current = PATH.is_file() and PATH.read_text("utf-8") == text
    if options.check and not current:
        print(f"{PATH.relative_to(ROOT)} is not current. Run: python scripts/{Path(__file__).name}")
    elif not current:
        PATH.write_text(text, encoding="utf-8")
        print(f"wrote {PATH.relative_to(ROOT)}")
    return 1 if options.check and not current else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
