"""Every kind of image file that real folders hold, made here with Pillow."""

import io
import logging
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from spti_ray.private.decode import Undecodable, decode, strict_pillow

LIMIT = 1_000_000
CANARY = "CANARY-7f3a"


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (20, 10)) -> Image.Image:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    pixels[..., 1] = np.linspace(255, 0, height).astype(np.uint8)[:, None]
    return Image.fromarray(pixels).convert(mode)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def refusal(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(data, max_pixels)
    assert str(caught.value) == caught.value.reason
    assert caught.value.__context__ is None, "a Pillow exception hangs on it"
    return caught.value.reason


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_give_back_their_pixels(format):
    image = Image.new("RGB", (4, 3), (200, 100, 50))
    decoded = decode(encode(image, format), LIMIT)
    assert decoded.shape == (3, 4, 3) and decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, np.asarray(image))


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(format):
    decoded = decode(encode(gradient(), format, quality=95), LIMIT)
    assert np.abs(decoded.astype(int) - np.asarray(gradient())).mean() < 12


def test_palette_gives_its_colours():
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30] + [0] * 762)
    np.testing.assert_array_equal(decode(encode(image), LIMIT)[0, 0], [10, 20, 30])


def test_palette_with_a_transparent_entry_is_put_on_white():
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 10, 20, 30] + [0] * 762)
    image.putpixel((1, 0), 0)
    np.testing.assert_array_equal(decode(encode(image, transparency=0), LIMIT)[0], [[10, 20, 30], [255, 255, 255]])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted(format):
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(decode(encode(red, format), LIMIT).astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format):
    samples = np.array([[0, 257 * 100, 65535]], np.uint16)
    decoded = decode(encode(Image.fromarray(samples), format), LIMIT)
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 100, 255])


def test_16_bit_grey_may_name_a_transparent_level():
    transparent = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert decode(encode(transparent, transparency=0), LIMIT)[0, :, 0].tolist() == [255, 255]


def test_32_bit_and_float_grey_are_scaled():
    whole = Image.fromarray(np.array([[0, 257 * 100, 65535]], np.int32))
    real = Image.fromarray(np.array([[0, 0.5, 1.0]], np.float32))
    np.testing.assert_array_equal(decode(encode(whole, "TIFF"), LIMIT)[0, :, 0], [0, 100, 255])
    np.testing.assert_array_equal(decode(encode(real, "TIFF"), LIMIT)[0, :, 0], [0, 128, 255])
    broken = Image.fromarray(np.array([[0, np.nan, 1.0]], np.float32))
    assert refusal(encode(broken, "TIFF")) == "unsupported pixel format"


def test_one_bit_and_grey_with_alpha():
    np.testing.assert_array_equal(decode(encode(Image.new("1", (3, 2), 1)), LIMIT), np.full((2, 3, 3), 255))
    np.testing.assert_array_equal(decode(encode(Image.new("L", (1, 1), 77)), LIMIT)[0, 0], [77, 77, 77])
    np.testing.assert_array_equal(decode(encode(Image.new("LA", (1, 1), (0, 0))), LIMIT)[0, 0], [255, 255, 255])


def test_transparency_is_composited_on_white():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    decoded = decode(encode(image), LIMIT)
    np.testing.assert_array_equal(decoded[0, 0], [255, 255, 255])
    assert abs(int(decoded[0, 1, 0]) - 127) <= 1


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    decoded = decode(data, LIMIT)
    assert decoded.shape == (8, 8, 3)
    np.testing.assert_array_equal(decoded[4, 4], [255, 0, 0])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(format, orientation):
    upright = Image.new("RGB", (32, 16), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 16, 8))  # the red quarter is at the top left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that stores it turned
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(stored, format, exif=exif), LIMIT)
    assert decoded.shape == (16, 32, 3)
    assert decoded[4, 8, 0] > 200 and decoded[12, 8, 0] < 60 and decoded[4, 24, 0] < 60


def test_broken_exif_does_not_matter():
    data = encode(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + CANARY.encode())
    assert decode(data, LIMIT).shape == (10, 20, 3)


def test_zero_bytes_are_refused():
    assert refusal(b"") == "empty file"


@pytest.mark.parametrize(
    "data", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"P6 1 1 255 abc", bytes(5000)]
)
def test_other_files_are_refused(data):
    assert refusal(data) == "not an image"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_truncated_files_are_refused(format):
    data = encode(noise(), format)
    assert refusal(data[: len(data) // 2]) in ("truncated or corrupt", "not an image")


def test_truncated_files_are_refused_whatever_other_libraries_switched_on(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encode(noise(), "JPEG")
    assert refusal(data[: len(data) // 2]) == "truncated or corrupt"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def huge_webp() -> bytes:
    lossless = bytearray(encode(Image.new("RGB", (2, 2)), "WEBP", lossless=True))
    lossless[21:25] = ((16383 - 1) | (16383 - 1) << 14).to_bytes(4, "little")
    return bytes(lossless)


@pytest.mark.parametrize("data", [png_header(100_000, 100_000), png_header(2**31 - 1, 2**31 - 1), huge_webp()])
def test_a_decompression_bomb_is_refused_from_its_header(data, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("pixels were allocated")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    monkeypatch.setattr(Image.core, "new", never)
    assert refusal(data, 64_000_000) == "too many pixels"


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
def test_a_large_webp_is_refused_before_its_decoder_allocates_a_canvas(options, monkeypatch):
    data = encode(gradient(size=(20, 10)), "WEBP", **options)
    assert decode(data, 200).shape == (10, 20, 3)

    def never(*_: object) -> None:
        raise AssertionError("a canvas was allocated")

    monkeypatch.setattr("PIL._webp.WebPAnimDecoder", never)
    assert refusal(data, 199) == "too many pixels"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_pixel_limit_is_exact_and_ours(format, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = encode(gradient(size=(20, 10)), format)
    assert decode(data, 200).shape == (10, 20, 3)
    assert refusal(data, 199) == "too many pixels"
    assert refusal(data, 20) == "too many pixels"
    assert Image.MAX_IMAGE_PIXELS == 10


def test_nothing_of_the_content_is_said(caplog, capfd):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", CANARY)
    exif = Image.Exif()
    exif[0x010E] = CANARY
    files = [
        encode(gradient(), "PNG", pnginfo=info, exif=exif),
        encode(gradient(), "JPEG", exif=exif, comment=CANARY.encode()),
        encode(gradient(), "TIFF", exif=exif),
        CANARY.encode(),
    ]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in files:
            for cut in (len(data), len(data) - 20, len(data) // 2, 40):
                try:
                    decode(data[: max(cut, 0)], LIMIT)
                except Undecodable as error:
                    assert CANARY not in repr(error)
    assert not caught
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_the_limit_holds_whatever_another_thread_does_to_the_filters_of_warnings():
    with strict_pillow(100):
        warnings.simplefilter("ignore")
        Image._decompression_bomb_check((10, 10))
        with pytest.raises(Image.DecompressionBombError):
            Image._decompression_bomb_check((101, 1))
