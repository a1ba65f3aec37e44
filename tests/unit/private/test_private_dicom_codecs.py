"""Compressed DICOM files: every decoder gives the samples that were compressed, and outlives what is damaged."""

from __future__ import annotations

import io
import logging
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("pydicom", reason="needs the extra dicom: make setup, or pip install 'spti-ray[dicom]'")

from spti_ray.config import DataConfig
from spti_ray.private import dicom_codecs
from spti_ray.private.decode import Undecodable
from spti_ray.private.dicom import decode_dicom
from tests.dicom_files import dataset, dicom, encapsulated, written

SETTINGS = DataConfig(path="x", max_pixels=100_000)
BASELINE, EXTENDED, LOSSLESS, SV1 = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70))
JPEG_LS, JPEG_2000, JPEG_2000_LOSSY, HTJ2K = (f"1.2.840.10008.1.2.4.{last}" for last in (80, 90, 91, 201))
RLE = "1.2.840.10008.1.2.5"

_RNG = np.random.default_rng(0)
GREY = (np.add.outer(np.arange(40), np.arange(36)) * 50 + _RNG.integers(0, 99, (40, 36))).astype(np.uint16)
SIGNED = (GREY.astype(np.int32) - 1800).astype(np.int16)
RGB = _RNG.integers(0, 256, (40, 36, 3)).astype(np.uint8)


def by_pydicom(pixels, syntax, plugin, **attributes) -> bytes:
    found = dataset(pixels, **attributes)
    found.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    return written(found)


def lossless_jpeg(pixels, syntax=SV1, **attributes) -> bytes:
    import imagecodecs

    bits = int(attributes.get("BitsStored", pixels.dtype.itemsize * 8))
    colours = "RGB" if pixels.ndim == 3 else None
    frame = imagecodecs.jpeg8_encode(
        pixels.view(pixels.dtype.str.replace("i", "u")),
        lossless=True,
        bitspersample=bits,
        predictor=1,
        colorspace=colours,
        outcolorspace=colours,
    )
    return encapsulated(pixels, syntax, frame, **attributes)


def high_throughput(pixels, **attributes) -> bytes:
    import imagecodecs

    return encapsulated(pixels, HTJ2K, imagecodecs.htj2k_encode(pixels), **attributes)


WRITERS = {
    "RLE": lambda pixels, **more: by_pydicom(pixels, RLE, "pydicom", **more),
    "lossless JPEG": lossless_jpeg,
    "lossless JPEG, any predictor": lambda pixels, **more: lossless_jpeg(pixels, LOSSLESS, **more),
    "JPEG-LS": lambda pixels, **more: by_pydicom(pixels, JPEG_LS, "pyjpegls", **more),
    "JPEG 2000": lambda pixels, **more: by_pydicom(pixels, JPEG_2000, "pylibjpeg", **more),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_compressed_without_loss_shows_the_same_as_uncompressed(name):
    windowed = {"WindowCenter": 1500, "WindowWidth": 3000}
    for pixels, more in (
        (GREY, {"BitsStored": 12}),
        (GREY, {"BitsStored": 12, **windowed}),
        (GREY >> 4, {"BitsStored": 16}),
        (SIGNED, windowed),
        (RGB, {}),
    ):
        if name.startswith("lossless") and pixels is SIGNED:
            continue  # libjpeg-turbo's encoder has no signed samples; those of DICOM are the same bits
        found = decode_dicom(WRITERS[name](pixels, **more), SETTINGS)
        np.testing.assert_array_equal(found, decode_dicom(dicom(pixels, **more), SETTINGS))


def test_signed_samples_of_lossless_jpeg_are_signed_again():
    np.testing.assert_array_equal(decode_dicom(lossless_jpeg(SIGNED), SETTINGS), decode_dicom(dicom(SIGNED), SETTINGS))


def test_colours_of_lossless_jpeg_lie_by_pixel_whatever_the_header_says():
    np.testing.assert_array_equal(decode_dicom(lossless_jpeg(RGB, PlanarConfiguration=1), SETTINGS), RGB)


def test_jpeg_2000_of_high_throughput():
    np.testing.assert_array_equal(decode_dicom(high_throughput(GREY), SETTINGS), decode_dicom(dicom(GREY), SETTINGS))


def jpeg(pixels, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def test_jpeg_of_8_bits_grey_and_in_colour():
    shades = (GREY >> 4).astype(np.uint8)
    found = decode_dicom(encapsulated(shades, BASELINE, jpeg(shades)), SETTINGS)
    assert np.abs(found[..., 0].astype(int) - shades).mean() < 3
    smooth = np.stack([np.add.outer(np.arange(40), np.arange(36)) * (1 + i) for i in range(3)], axis=2).astype(np.uint8)
    data = encapsulated(smooth, BASELINE, jpeg(smooth, subsampling=2), PhotometricInterpretation="YBR_FULL_422")
    assert (
        np.abs(
            decode_dicom(data, SETTINGS).astype(int) - np.asarray(Image.open(io.BytesIO(jpeg(smooth, subsampling=2))))
        ).max()
        <= 4
    )


def test_jpeg_of_12_bits():
    import imagecodecs

    smooth = (np.add.outer(np.arange(40), np.arange(36)) * 50).astype(np.uint16)
    frame = imagecodecs.jpeg8_encode(smooth, level=98, bitspersample=12)
    found = decode_dicom(encapsulated(smooth, EXTENDED, frame, BitsStored=12), SETTINGS)[..., 0]
    assert np.abs(found.astype(int) - decode_dicom(dicom(smooth), SETTINGS)[..., 0]).max() <= 2


def test_one_frame_of_several_is_decoded_alone():
    frames = np.stack([GREY, GREY // 2, GREY // 3])
    whole = dataset(frames)
    whole.compress(JPEG_2000, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    extended = dataset(frames)
    extended.compress(JPEG_2000, encoding_plugin="pylibjpeg", generate_instance_uid=False, encapsulate_ext=True)
    assert "ExtendedOffsetTable" in extended
    for found in (whole, extended):
        decoded = decode_dicom(written(found), SETTINGS.model_copy(update={"frame": 2}))
        np.testing.assert_array_equal(decoded, decode_dicom(dicom(GREY // 2), SETTINGS))


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "RLE"])
def test_a_frame_whose_own_size_is_another_is_not_decoded(name, monkeypatch):
    """A decoder would allocate what the frame says, here up to 65,535 x 65,535."""
    large = np.zeros((300, 300), np.uint16)
    data = WRITERS[name](large)
    small = data.replace((300).to_bytes(2, "little") + b"(\0\x11", (3).to_bytes(2, "little") + b"(\0\x11")
    assert small != data
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(Undecodable, match="truncated or corrupt"):
        decode_dicom(small, SETTINGS)


def test_a_frame_of_rle_that_is_longer_than_its_image_can_be_is_not_decoded(monkeypatch):
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(Undecodable, match="truncated or corrupt"):
        decode_dicom(encapsulated(GREY, RLE, bytes(10_000)), SETTINGS)


@pytest.mark.parametrize("name", [*WRITERS, "JPEG"])
def test_a_damaged_frame_gives_an_image_or_a_reason_and_ends_no_process(name, caplog, capfd):
    shades = (GREY >> 4).astype(np.uint8)
    whole = encapsulated(shades, BASELINE, jpeg(shades)) if name == "JPEG" else WRITERS[name](GREY)
    start = whole.rindex(b"\xfe\xff\x00\xe0") + 8

    @settings(max_examples=60, deadline=None)
    @given(st.randoms(use_true_random=True))
    def search(rng):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            # Mostly where the frame says what it is.
            at = rng.randrange(start, min(len(data), start + (120 if rng.random() < 0.7 else 10**6)))
            data[at] = rng.choice((0, 255, rng.randrange(256)))
        if rng.random() < 0.2:
            del data[rng.randrange(start, len(data)) :]
        began = time.monotonic()
        try:
            assert decode_dicom(bytes(data), SETTINGS).shape == (40, 36, 3)
        except Undecodable as error:
            assert error.__context__ is None
        assert time.monotonic() - began < 5

    with caplog.at_level(logging.DEBUG):
        search()
    assert caplog.text + "".join(capfd.readouterr()) == ""


def test_every_compression_has_one_decoder_which_is_there():
    from pydicom.pixels import get_decoder

    for syntax in dicom_codecs._PLUGINS:
        plugin = dicom_codecs.plugin_of(syntax)
        assert plugin in get_decoder(syntax).available_plugins
    assert dicom_codecs.plugin_of("1.2.840.10008.1.2.4.102") is None
