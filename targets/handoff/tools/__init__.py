"""The table of vendors' tools. A new tool is one module and one line here."""

from __future__ import annotations

from edgeweave.targets.handoff.tools.dla import DLA
from edgeweave.targets.handoff.tools.qnn import QNN
from edgeweave.targets.handoff.tools.rknn import RKNN
from edgeweave.targets.handoff.tools.tidl import TIDL
from edgeweave.targets.handoff.tools.tool import Tool
from edgeweave.targets.handoff.tools.vip8000 import VIP8000

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (RKNN, TIDL, QNN, DLA, VIP8000)}
