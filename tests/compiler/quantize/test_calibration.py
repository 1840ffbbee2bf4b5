"""Frames of a calibration folder, and every way in which it can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeweave.compiler.quantize.calibration import read_calibration
from edgeweave.compiler.quantize.errors import QuantizeError
from edgeweave.compiler.quantize.settings import Preprocessing
from edgeweave.runtime.spec import ValueSpec

IMAGE = ValueSpec("x", "tensor(float)", (1, 3, 4, 6))
VECTOR = ValueSpec("v", "tensor(float)", (1, 5))
PLAIN = Preprocessing()
FRAME = np.arange(72, dtype=np.float32).reshape(1, 3, 4, 6)


def test_arrays_come_in_the_order_of_their_names_and_other_files_are_ignored(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "b.npy", FRAME + 1)
    np.save(tmp_path / "a.npy", FRAME)
    (tmp_path / "model.onnx").write_bytes(b"no frame")
    (tmp_path / "folder.npy").mkdir()
    found = read_calibration(tmp_path, [IMAGE], PLAIN)
    assert found.files == ("a.npy", "b.npy")
    assert np.array_equal(found.frames[0]["x"], FRAME)
    assert np.array_equal(found.frames[1]["x"], FRAME + 1)
    assert not found.is_cut


@pytest.mark.parametrize(
    ("array", "count"),
    [(FRAME[0], 1), (np.concatenate([FRAME, FRAME + 1, FRAME + 2]), 3)],
    ids=["without the batch axis", "a batch of three"],
)
def test_a_batch_axis_may_be_left_out_or_longer(
    tmp_path: Path, array: np.ndarray, count: int
) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_calibration(tmp_path, [IMAGE], PLAIN)
    assert [frame["x"].shape for frame in found.frames] == [(1, 3, 4, 6)] * count
    assert np.array_equal(found.frames[-1]["x"], FRAME + count - 1)


def test_the_limit_counts_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.concatenate([FRAME, FRAME]))
    np.save(tmp_path / "b.npy", FRAME)
    assert len(read_calibration(tmp_path, [IMAGE], PLAIN, 3).frames) == 3
    found = read_calibration(tmp_path, [IMAGE], PLAIN, 1)
    assert (len(found.frames), found.files, found.is_cut) == (1, ("a.npy",), True)


def test_an_npz_holds_all_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=FRAME, v=np.ones((1, 5), np.float32))
    frame = read_calibration(tmp_path, [IMAGE, VECTOR], PLAIN).frames[0]
    assert {name: value.shape for name, value in frame.items()} == {"x": (1, 3, 4, 6), "v": (1, 5)}


@pytest.mark.parametrize("suffix", ["png", "bmp", "JPG", "jpeg"])
def test_pixels_are_scaled_shifted_and_divided(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (12, 8), (255, 128, 0)).save(tmp_path / f"a.{suffix}")
    wanted = Preprocessing(mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    frame = read_calibration(tmp_path, [IMAGE], wanted).frames[0]["x"]
    assert frame.shape == (1, 3, 4, 6)
    assert frame.dtype == np.float32
    expected = [(1.0 - 0.5) / 0.5, 128 / 255 - 0.25, 0.0]
    assert np.allclose(frame.mean((0, 2, 3)), expected, atol=0.01)


def test_images_are_resized_bilinearly(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    frame = read_calibration(tmp_path, [IMAGE], Preprocessing(scale=(1.0,))).frames[0]["x"]
    resized = Image.fromarray(pixels).resize((6, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(frame[0].transpose(1, 2, 0), np.asarray(resized, np.float32))


@pytest.mark.parametrize("layout", [None, "nhwc"])
def test_grey_images_and_channels_last(tmp_path: Path, layout: str | None) -> None:
    Image.new("RGB", (5, 5), (255, 255, 255)).save(tmp_path / "a.png")
    spec = ValueSpec("x", "tensor(float)", (2, 4, 6, 1))
    wanted = Preprocessing(layout=layout)  # type: ignore[arg-type]
    frame = read_calibration(tmp_path, [spec], wanted).frames[0]["x"]
    assert frame.shape == (2, 4, 6, 1)
    assert (frame == 1.0).all()


def no_folder(path: Path) -> None:
    path.rmdir()


def a_file(path: Path) -> None:
    path.rmdir()
    path.write_bytes(b"")


def nothing(path: Path) -> None:
    (path / "readme.txt").write_text("none here")


def save(name: str, array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path / name, array)


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (path / name).write_bytes(content)

    return make


def npz(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path / "a.npz", **arrays)


def image(path: Path) -> None:
    Image.new("RGB", (4, 4)).save(path / "a.png")


NAN = np.where(FRAME == 7, np.nan, FRAME).astype(np.float32)
PICKLED = np.array([{"a": 1}], dtype=object)
TWO = [IMAGE, VECTOR]


@pytest.mark.parametrize(
    ("make", "inputs", "message"),
    [
        (no_folder, [IMAGE], "frames: does not exist"),
        (a_file, [IMAGE], "frames: is no folder"),
        (nothing, [IMAGE], "holds no calibration frame: no .npy, .npz, .bmp, .jpeg, .jpg, .png"),
        (save("a.npy", FRAME[:, :2]), [IMAGE], r"a.npy: has shape [1, 2, 4, 6], and input 'x'"),
        (save("a.npy", FRAME[:0]), [IMAGE], r"a.npy: has shape [0, 3, 4, 6], and input 'x'"),
        (save("a.npy", FRAME.astype(np.float64)), [IMAGE], "a.npy: holds float64, and input 'x'"),
        (save("a.npy", NAN), [IMAGE], "a.npy: holds a NaN or an infinity"),
        (save("a.npy", np.full_like(FRAME, np.inf)), [IMAGE], "holds a NaN or an infinity"),
        (save("a.npy", FRAME), TWO, "holds one array, and the model has 2 inputs"),
        (write("a.npy", b""), [IMAGE], "a.npy: is no file that numpy saved"),
        (write("a.npy", b"\x93NUMPY\x01\x00junk"), [IMAGE], "a.npy: is no file that numpy saved"),
        (write("a.npz", b"PK\x03\x04junk"), [IMAGE], "a.npz: is no file that numpy saved"),
        (npz(x=FRAME), TWO, "a.npz: lacks input 'v'"),
        (npz(x=FRAME, y=FRAME), [IMAGE], "a.npz: holds 'y', no input"),
        (npz(x=np.concatenate([FRAME, FRAME])), [IMAGE], "a.npz: has shape [2, 3, 4, 6]"),
        (npz(x=NAN), [IMAGE], "a.npz: holds a NaN"),
        (write("a.png", b"\x89PNG\r\n\x1a\njunk"), [IMAGE], "a.png: cannot be read as an image"),
        (write("a.jpg", b""), [IMAGE], "a.jpg: cannot be read as an image"),
        (image, TWO, "is an image, and the model has 2 inputs"),
        (image, [VECTOR], "is an image, and input 'v' is none"),
        (image, [ValueSpec("x", "tensor(int64)", (1, 3, 4, 4))], "input 'x' is none"),
        (image, [ValueSpec("x", "tensor(float)", (1, 8, 4, 4))], "input 'x' is none"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, make: Callable[[Path], None], inputs: list[ValueSpec], message: str
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    make(frames)
    with pytest.raises(QuantizeError) as raised:
        read_calibration(frames, inputs, PLAIN)
    assert message in str(raised.value)
    assert raised.value.next_step


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PICKLED, allow_pickle=True)
    with pytest.raises(QuantizeError, match="is no file that numpy saved"):
        read_calibration(tmp_path, [IMAGE], PLAIN)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Preprocessing(mean=(0.5, 0.5)), "--mean: has 2 numbers, and the input 3 channel"),
        (Preprocessing(std=(1.0, 0.0, 1.0)), "--std: is 0"),
        (Preprocessing(layout="nhwc"), "input 'x' is none in layout nhwc"),
    ],
)
def test_numbers_that_do_not_fit_the_image(
    tmp_path: Path, wanted: Preprocessing, message: str
) -> None:
    image(tmp_path)
    with pytest.raises(QuantizeError, match=message):
        read_calibration(tmp_path, [IMAGE], wanted)


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(QuantizeError, match="cannot be read: Permission denied"):
        read_calibration(tmp_path, [IMAGE], PLAIN)
