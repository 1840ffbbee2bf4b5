"""The compiler: from an ONNX file to a bundle, one stage of the flow per module."""
