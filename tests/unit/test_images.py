"""Every picture a user may hand in: read right, or refused in one clear line."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from fer.errors import ImageError
from fer.images import _FORMATS, MAX_PIXELS, read_image, save_image


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def quadrants() -> Image.Image:
    """Red, green / blue, white: orientation and channel order can be read off the corners."""
    a = np.zeros((40, 60, 3), np.uint8)
    a[:20, :30], a[:20, 30:], a[20:, :30], a[20:, 30:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250)
    return Image.fromarray(a)


def near(pixel, color, tolerance=30):
    return np.abs(pixel.astype(int) - color).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM"])
def test_formats_come_back_as_rgb(kind, tmp_path):
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(encoded(quadrants(), kind))
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        image = read_image(source)
        assert image.dtype == np.uint8 and image.shape == (40, 60, 3) and image.flags.c_contiguous
        assert image.flags.writeable
        assert near(image[5, 5], (250, 0, 0)) and near(image[5, 55], (0, 250, 0)) and near(image[35, 5], (0, 0, 250))


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, (250, 0, 0)),
        (2, (0, 250, 0)),
        (3, (250, 250, 250)),
        (4, (0, 0, 250)),
        (5, (250, 0, 0)),
        (6, (0, 0, 250)),
        (7, (250, 250, 250)),
        (8, (0, 250, 0)),
        (9, (250, 0, 0)),
    ],
)
def test_exif_orientation_is_applied(orientation, corner):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(quadrants(), "JPEG", exif=exif, quality=95))
    assert image.shape == ((60, 40, 3) if 5 <= orientation <= 8 else (40, 60, 3))
    assert near(image[5, 5], corner)
    with Image.open(io.BytesIO(encoded(quadrants(), "JPEG", exif=exif, quality=95))) as picture:
        assert np.array_equal(image, np.asarray(ImageOps.exif_transpose(picture)))


def test_broken_exif_is_no_reason_to_refuse():
    assert read_image(encoded(quadrants(), "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 30)).shape == (40, 60, 3)


def test_the_orientation_counts_whatever_else_is_wrong_in_the_exif_block(tmp_path, caplog):
    turned = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    unit_as_text = struct.pack("<HHI4s", 0x0128, 2, 4, b"two")
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + turned + unit_as_text + bytes(4)
    path = tmp_path / "private.jpg"
    path.write_bytes(encoded(quadrants(), "JPEG", exif=block, quality=95))
    with Image.open(path) as picture, pytest.raises((TypeError, ValueError, struct.error)):
        ImageOps.exif_transpose(picture)
    image = read_image(path)
    assert image.shape == (60, 40, 3) and near(image[5, 5], (0, 0, 250))
    assert "private" not in caplog.text


def test_cmyk_is_converted():
    cmyk = quadrants().convert("CMYK")
    image = read_image(encoded(cmyk, "JPEG", quality=95))
    assert near(image[5, 5], (250, 0, 0), 40) and near(image[35, 55], (250, 250, 250), 40)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(4, 0)
    image = read_image(encoded(Image.fromarray(ramp), kind))
    assert image.shape == (4, 64, 3)
    assert np.abs(image[0, :, 0].astype(float) - np.linspace(0, 255, 64)).max() <= 1
    assert read_image(ramp).tolist() == image.tolist()


def test_transparency_lies_on_white():
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, 3:] = (10, 20, 30, 255)
    rgba[0, 0] = (0, 0, 0, 128)
    for source in (rgba, encoded(Image.fromarray(rgba), "PNG")):
        image = read_image(source)
        assert image[2, 0].tolist() == [255] * 3 and image[2, 5].tolist() == [10, 20, 30]
        assert 125 <= image[0, 0, 0] <= 129


def test_palette_with_a_transparent_colour():
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([0, 0, 0, 200, 10, 10] + [0] * 762)
    picture.putpixel((1, 1), 1)
    image = read_image(encoded(picture, "PNG", transparency=0))
    assert image[0, 0].tolist() == [255] * 3 and image[1, 1].tolist() == [200, 10, 10]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I", "F", "HSV", "YCbCr", "LAB"])
def test_every_mode_of_a_pil_picture(mode):
    picture = (
        quadrants().convert("L").convert(mode)
        if mode in ("I", "F", "LA", "1")
        else quadrants().convert("RGB").convert(mode)
        if mode != "LAB"
        else Image.new("LAB", (60, 40))
    )
    image = read_image(picture)
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), c) for c in ((200, 0, 0), (0, 200, 0))]
    for kind in ("GIF", "WEBP", "PNG"):
        image = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert near(image[4, 4], (200, 0, 0), 12), kind


def test_one_pixel_is_a_picture(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert read_image(path).tolist() == [[[1, 2, 3]]]


def test_a_good_array_comes_back_itself():
    a = np.zeros((3, 4, 3), np.uint8)
    assert read_image(a) is a
    assert read_image(a[:, ::-1]).flags.c_contiguous
    assert read_image(np.full((2, 2), 0.5))[0, 0].tolist() == [128] * 3
    assert read_image(np.ones((2, 2, 1), bool))[0, 0].tolist() == [255] * 3


def bomb(side: int) -> bytes:
    """A PNG that claims side x side pixels in a few bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def icon(content: bytes) -> bytes:
    """An ICO that says it is 16x16 and holds a PNG of any size."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22) + content


JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)), "JPEG")
PROGRESSIVE = encoded(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)), "JPEG", progressive=True
)
BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture\n" * 9, "not a picture"),
    "html": (b"<!doctype html><html>404</html>", "not a picture"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "truncated"),
    "truncated progressive JPEG": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "truncated"),
    "JPEG header only": (JPEG[:20], "picture"),
    "truncated PNG": (encoded(quadrants(), "PNG")[:-60], "truncated or damaged"),
    "truncated GIF": (encoded(quadrants(), "GIF")[:-60], "truncated or damaged"),
    "damaged PNG": (encoded(quadrants(), "PNG").replace(b"IDAT", b"IDAX"), "not a picture"),
    "bomb": (bomb(8000), "too large"),
    "large bomb": (bomb(60000), "too large"),
    "icon": (icon(encoded(quadrants(), "PNG")), "not a picture that can be read; expected JPEG, PNG"),
    "icon with a bomb": (icon(bomb(8000)), "not a picture that can be read; expected JPEG, PNG"),
    "HEIC": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(name, tmp_path):
    data, words = BAD[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=words) as caught:
            read_image(path)
        assert "photo.jpg" in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(ImageError, match=words):
            read_image(data)


@pytest.mark.parametrize("kind", _FORMATS)
def test_no_format_is_decoded_before_the_limit_is_checked(kind, monkeypatch):
    """Small files can hold huge pictures: the size that the header tells has to decide."""
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this build of Pillow cannot write {kind}")
    data = encoded(quadrants(), kind)
    with Image.open(io.BytesIO(data), formats=[kind]) as picture:
        plugin = type(picture)
    monkeypatch.setattr(plugin, "load", lambda *_args: pytest.fail(f"{kind} was decoded"))
    monkeypatch.setattr(Image, "_getdecoder", lambda *_args: pytest.fail(f"{kind} was decoded"))
    monkeypatch.setattr("fer.images.MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="too large"):
        read_image(data)


def test_places_that_are_no_files(tmp_path):
    for source, words in (
        (tmp_path / "absent.jpg", "no such file"),
        (tmp_path, "directory"),
        ("/dev/zero", "not a regular file"),
        ("https://example.org/a.jpg", "download"),
        ("a\0b.jpg", "cannot be read|no such file"),
        ("", "directory|no such file"),
        ("x" * 5000, "cannot be read|no such file"),
    ):
        if source == "/dev/zero" and tmp_path.root != "/":
            continue
        with pytest.raises(ImageError, match=words):
            read_image(source)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4), np.int64),
        np.full((4, 4), 200.0),
        np.full((4, 4), np.nan),
        np.array("text"),
        np.array([[None]]),
    ],
)
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(ImageError):
        read_image(array)


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], {"path": "a"}])
def test_things_that_are_no_pictures(source):
    with pytest.raises(ImageError, match="expected a path"):
        read_image(source)


def test_the_limit_is_on_pixels_of_arrays_and_pil_pictures_too():
    big = np.broadcast_to(np.zeros(1, np.uint8), (MAX_PIXELS // 1000 + 1, 1000))
    with pytest.raises(ImageError, match="too large"):
        read_image(big)
    with pytest.raises(ImageError, match="too large"):
        read_image(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000)))


def test_saving(tmp_path):
    image = np.asarray(quadrants())
    path = save_image(image, tmp_path / "new" / "a.png")
    assert (read_image(path) == image).all()
    save_image(image[:5], path)
    assert read_image(path).shape == (5, 60, 3)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(ImageError, match=r"\.xyz"):
        save_image(image, tmp_path / "a.xyz")
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="cannot be written"):
        save_image(image, tmp_path / "file" / "a.png")
