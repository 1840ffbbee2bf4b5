"""From a QDQ ONNX stage to an int8 TFLite model."""
