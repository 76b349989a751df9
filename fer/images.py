"""Pictures in and out: the one place where a file, bytes, a PIL picture or an array becomes uint8 RGB."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from fer.errors import ImageError
from fer.files import replacing

ImageSource = str | Path | bytes | Image.Image | np.ndarray

MAX_PIXELS = 50_000_000
MAX_BYTES = 512 * 2**20
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

# Named, because Pillow would otherwise also try formats that start other programs (EPS), are no photographs, or are
# decoded while they are opened (ICO), before the limit is checked.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_READS = "JPEG, PNG, WebP, GIF, BMP or TIFF"
_BROKEN = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)
# How a picture has to be turned for each value of EXIF's Orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: ImageSource) -> np.ndarray:
    """Any picture as uint8 RGB.

    EXIF orientation is applied; transparency lies on white; of an animation the first frame counts; 16-bit and float
    pictures are scaled to 8 bits.

    Args:
        source: Path, encoded bytes, PIL picture, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, as
            uint8, uint16, bool, or float in [0, 1].

    Returns:
        uint8 (H, W, 3) RGB, contiguous, at least 1x1. An array that is already so comes back itself.

    Raises:
        ImageError: absent path, directory, empty file, not a picture, truncated, more than 50 megapixels.

    >>> read_image(np.zeros((2, 3), dtype=np.uint8)).shape
    (2, 3, 3)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the picture")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), "the bytes given")
    if isinstance(source, (str, Path)):
        return _from_bytes(_read_bytes(source), str(source))
    raise ImageError(f"expected a path, bytes, a PIL picture or an array, got {type(source).__name__}")


def save_image(image: np.ndarray, path: str | Path) -> Path:
    """Write a picture in the format that the suffix names; never leaves a half-written file.

    Args:
        image: uint8 (H, W, 3) RGB or (H, W) grey.

    Raises:
        ImageError: not a picture, a suffix that names no format, or a place that cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path}: cannot tell the format from {path.suffix!r}; use one of {', '.join(SUFFIXES)}")
    picture = Image.fromarray(_from_array(image))
    try:
        with replacing(path) as part:
            picture.save(part)
    except (OSError, ValueError) as e:
        raise ImageError(f"{path}: cannot be written ({_reason(e)})") from e
    return path


def _read_bytes(source: str | Path) -> bytes:
    text = str(source)
    if text.startswith(("http://", "https://")):
        raise ImageError(f"{text}: addresses are not opened; download the picture first and give its path")
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            raise ImageError(f"{text}: is a directory, expected a picture file")
        if not path.exists():
            raise ImageError(f"{text}: no such file")
        if not path.is_file():
            raise ImageError(f"{text}: not a regular file, expected a picture file")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{text}: larger than {MAX_BYTES // 2**20} MiB, expected a picture file")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as e:  # RuntimeError: "~nobody" has no home
        raise ImageError(f"{text}: cannot be read ({_reason(e)})") from e


def _from_bytes(data: bytes, what: str) -> np.ndarray:
    if not data:
        raise ImageError(f"{what}: empty (0 bytes), expected a picture")
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"):
        raise ImageError(f"{what}: HEIC pictures are not supported; convert it to JPEG or PNG first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            Image.init()
            known = [f for f in _FORMATS if f in Image.OPEN]  # some builds of Pillow lack AVIF or JPEG 2000
            picture = Image.open(io.BytesIO(data), formats=known)
    except UnidentifiedImageError as e:
        raise ImageError(f"{what}: not a picture that can be read; expected {_READS}") from e
    except Image.DecompressionBombError as e:
        raise ImageError(f"{what}: too large, at most {MAX_PIXELS // 10**6} megapixels are read") from e
    except _BROKEN as e:
        raise ImageError(f"{what}: damaged picture ({_reason(e)})") from e
    with picture:
        return _from_pil(picture, what)


def _from_pil(picture: Image.Image, what: str) -> np.ndarray:
    width, height = picture.size
    _check_size(height, width, what)
    try:
        picture.load()
    except (*_BROKEN, Image.DecompressionBombError, MemoryError) as e:
        raise ImageError(f"{what}: truncated or damaged picture ({_reason(e)})") from e
    try:
        return _to_rgb(_upright(picture))
    except (*_BROKEN, MemoryError) as e:
        raise ImageError(f"{what}: colour mode {picture.mode} cannot be converted ({_reason(e)})") from e


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF block says.

    `ImageOps.exif_transpose` would write the block again, and fails where any other tag in it is damaged.
    """
    try:
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except _BROKEN:  # a picture with a broken EXIF block is still a picture
        return picture
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Image.Image) -> np.ndarray:
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _from_array(_deep_to_uint8(np.asarray(picture), mode))
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    # array(), not asarray(): the view into Pillow's memory is read-only
    return np.array(picture.convert("RGB"))


def _deep_to_uint8(values: np.ndarray, mode: str) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64))
    top = values.max(initial=0.0)
    if mode == "F":
        full = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0 if top <= 65535 else top
    elif mode == "I" and top <= 255:  # 32-bit integers that hold an 8-bit picture
        full = 255.0
    else:
        full = 65535.0 if top <= 65535 else top
    return np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)


def _from_array(array: np.ndarray) -> np.ndarray:
    a = array
    if a.ndim == 3 and a.shape[2] == 1:
        a = a[:, :, 0]
    if a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[2] not in (3, 4)):
        raise ImageError(f"expected an array (H, W), (H, W, 3) or (H, W, 4), got shape {array.shape}")
    _check_size(a.shape[0], a.shape[1], "the array")
    if a.dtype == bool:
        a = a.astype(np.uint8) * 255
    elif a.dtype == np.uint16:
        a = ((a.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif np.issubdtype(a.dtype, np.floating):
        if not np.isfinite(a).all() or a.min() < 0 or a.max() > 1:
            raise ImageError("a float picture must lie in [0, 1]; give uint8 for values in 0..255")
        a = np.rint(a * 255).astype(np.uint8)
    elif a.dtype != np.uint8:
        raise ImageError(f"expected uint8, uint16, bool or float in [0, 1], got {a.dtype}")
    if a.ndim == 2:
        a = np.repeat(a[:, :, None], 3, axis=2)
    elif a.shape[2] == 4:
        alpha = a[:, :, 3:].astype(np.uint16)
        a = ((a[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(a)


def _check_size(height: int, width: int, what: str) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"{what}: has no pixels ({width}x{height})")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{what}: {width}x{height} is too large, at most {MAX_PIXELS // 10**6} megapixels are read; make it smaller"
        )


def _reason(error: BaseException) -> str:
    """The cause in one line, without the path that the message already names."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).splitlines()[0]
