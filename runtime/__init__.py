"""The part of edgeweave that goes to the device: reads a bundle and runs it as a pipeline.

It imports nothing else of edgeweave.
"""

import os

# ONNX Runtime's Linux wheels may send usage data unless this is set before they are imported.
# Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
