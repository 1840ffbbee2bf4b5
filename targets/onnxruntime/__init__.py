"""The fallback backend: CPU engines run the stage's ONNX model with ONNX Runtime."""

from __future__ import annotations

from edgeweave.targets.onnxruntime.backend import OnnxRuntimeBackend

BACKEND = OnnxRuntimeBackend()
