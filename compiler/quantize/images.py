"""Image files as inputs of a model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.settings import Preprocessing
from edgeweave.runtime.spec import ValueSpec

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_CHANNELS = {1: "L", 3: "RGB"}


class ImageReader:
    """Reads images as one input of a model, as ``Preprocessing`` says."""

    def __init__(self, subject: str, inputs: Sequence[ValueSpec], wanted: Preprocessing) -> None:
        """Raises QuantizeError for a model, or numbers, that images do not fit."""
        self._layout, self._shape = _image_input(subject, inputs, wanted.layout)
        self._dtype = inputs[0].dtype
        self._channels = self._shape[1 if self._layout == "nchw" else 3]
        self._scale = self._per_channel("scale", wanted.scale)
        self._mean = self._per_channel("mean", wanted.mean)
        self._std = self._per_channel("std", wanted.std)
        if not self._std.all():
            raise QuantizeError("--std", "is 0, and pixels are divided by it", "Give other numbers")

    def read(self, path: Path) -> np.ndarray:
        """The image in the input's shape and type; the same image in every place of a batch."""
        height, width = self._shape[2:] if self._layout == "nchw" else self._shape[1:3]
        pixels = _pixels(path, _CHANNELS[self._channels], (width, height))
        pixels = pixels.reshape(height, width, self._channels)
        values = (pixels * self._scale - self._mean) / self._std
        if self._layout == "nchw":
            values = values.transpose(2, 0, 1)
        frame = np.broadcast_to(values, self._shape).astype(self._dtype)
        return np.ascontiguousarray(frame)

    def _per_channel(self, name: str, given: Sequence[float]) -> np.ndarray:
        if len(given) not in (1, self._channels):
            raise QuantizeError(
                f"--{name}",
                f"has {len(given)} numbers, and the input {self._channels} channel(s)",
                "Give one number, or one per channel",
            )
        return np.asarray(given, np.float32)


def _image_input(
    subject: str, inputs: Sequence[ValueSpec], layout: str | None
) -> tuple[str, tuple[int, ...]]:
    """Layout and shape of the one input; QuantizeError where it is no image."""
    step = "Give the frames as .npy or .npz"
    if len(inputs) != 1:
        raise QuantizeError(subject, f"is an image, and the model has {len(inputs)} inputs", step)
    spec = inputs[0]
    shape = tuple(d for d in spec.shape or () if d is not None)
    places = {"nchw": 1, "nhwc": 3}
    fitting = [
        name
        for name, place in places.items()
        if len(shape) == 4 and shape[place] in _CHANNELS and layout in (None, name)
    ]
    if not fitting or spec.dtype not in ("float32", "float16"):
        asked = f" in layout {layout}" if layout else ""
        raise QuantizeError(
            subject,
            f"is an image, and input {spec.name!r} is none{asked}: {spec.type} of shape "
            f"{list(spec.shape or ())}",
            step,
        )
    return fitting[0], shape


def _pixels(path: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError:
        raise QuantizeError(
            str(path), "is an image, and Pillow is not installed", "Run pip install pillow"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                resized = image.convert(mode).resize(size, Image.Resampling.BILINEAR)
                return np.asarray(resized, np.float32)
    except Exception as error:  # noqa: BLE001 - decoders fail in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise QuantizeError(
            str(path), f"cannot be read as an image: {reason}", "Replace or remove the file"
        ) from None
