"""Deep grey samples, as scanners and microscopes write them: what is black and what is white, in files made here."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.config.loading import ConfigError, parse_section
from spti_ray.private.dataset import load_shard
from spti_ray.private.decode import Undecodable, decode

LIMIT = 1_000_000
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def tiff(samples_HW, kind, photometric=1, big_endian=False, **tags):
    """A TIFF by hand: Pillow writes few of these. `tags`: t258=12 and so on, stored as 32 bits (floats as floats)."""
    order = ">" if big_endian else "<"
    samples = np.ascontiguousarray(samples_HW)
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    (height, width), bits = samples.shape, samples.dtype.itemsize * 8
    found = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: height, 279: len(data)}
    found |= ({} if kind is None else {339: kind}) | {int(name[1:]): value for name, value in tags.items()}
    found[273] = 8 + 2 + 12 * len(found) + 4
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}IH", 8, len(found))
    for tag in sorted(found):
        value = found[tag]
        real = isinstance(value, float)
        head += struct.pack(f"{order}HHI{'f' if real else 'I'}", tag, 11 if real else 4, 1, value)
    return head + struct.pack(f"{order}I", 0) + data


def png(samples_HW, significant=None):
    """A 16-bit grey PNG, with an sBIT chunk if `significant` bits are named."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = np.shape(samples_HW)
    rows = b"".join(b"\0" + np.asarray(row, ">u2").tobytes() for row in samples_HW)
    named = b"" if significant is None else chunk(b"sBIT", bytes([significant]))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + named + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def grey(data, window=None):
    decoded = decode(data, LIMIT, window)
    assert (decoded == decoded[..., :1]).all()
    return decoded[..., 0]


def row(*values, dtype):
    return np.array([values], dtype)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("form", ["png", "tiff", "big-endian tiff"])
def test_full_scale_is_the_smallest_number_of_bits_that_holds_the_image(bits, form):
    top = 2**bits - 1
    samples = row(0, top // 2, top, dtype=np.uint16)
    data = png(samples) if form == "png" else tiff(samples, UNSIGNED, big_endian=form != "tiff")
    np.testing.assert_array_equal(grey(data)[0], [0, np.rint(top // 2 * 255 / top), 255])


def test_significant_bits_of_a_png_are_its_full_scale():
    dark = row(0, 500, dtype=np.uint16)
    assert grey(png(dark))[0, 1] == round(500 * 255 / 1023)
    assert grey(png(dark, significant=12))[0, 1] == round(500 * 255 / 4095)
    # Scaled up to all 16 bits, as the PNG specification wants it, the samples are beyond: the tag says nothing then.
    assert grey(png(row(0, 65535, dtype=np.uint16), significant=12))[0, 1] == 255


@pytest.mark.parametrize("tags", [{"t281": 4095}, {"t341": 4095.0}, {"t341": 4095, "t281": 65535}])
def test_the_highest_sample_that_a_tiff_names_is_its_full_scale(tags):
    assert grey(tiff(row(0, 500, dtype=np.uint16), UNSIGNED, **tags))[0, 1] == round(500 * 255 / 4095)


def test_a_tag_that_the_samples_contradict_counts_for_nothing():
    assert grey(tiff(row(0, 4000, dtype=np.uint16), UNSIGNED, t281=1000))[0, 1] == round(4000 * 255 / 4095)
    assert grey(tiff(row(0, 200, dtype=np.uint16), UNSIGNED, t280=7, t281=7))[0, 1] == 200


def test_hounsfield_units_keep_what_is_below_zero():
    found = grey(tiff(row(-1024, -1000, 0, 1000, 3071, dtype=np.int16), SIGNED))[0].astype(int)
    np.testing.assert_array_equal(found, np.rint((np.array([-1024, -1000, 0, 1000, 3071]) + 1024) * 255 / 5119))
    assert (np.diff(found) > 0).all()


def test_a_public_window_decides_where_it_is_given():
    samples = tiff(row(-1024, -160, 40, 240, 3071, dtype=np.int16), SIGNED)
    np.testing.assert_array_equal(grey(samples, (-160, 240))[0], [0, 0, 128, 255, 255])
    np.testing.assert_array_equal(grey(png(row(0, 2048, dtype=np.uint16), significant=14), (0, 4095))[0], [0, 128])
    # Of 8 bits, and of colours, nothing is deep.
    for mode, colour in (("L", 77), ("RGB", (77, 77, 77))):
        buffer = io.BytesIO()
        Image.new(mode, (1, 1), colour).save(buffer, "PNG")
        assert decode(buffer.getvalue(), LIMIT, (0, 10))[0, 0].tolist() == [77, 77, 77]


def test_the_bright_half_of_32_unsigned_bits_is_not_black():
    for kind in (UNSIGNED, None):
        found = grey(tiff(row(0, 2**31 - 1, 2**31, 2**32 - 1, dtype=np.uint32), kind))[0]
        np.testing.assert_array_equal(found, [0, 127, 128, 255])


def test_signed_samples_of_any_width_keep_their_order():
    for dtype in (np.int8, np.int16, np.int32):
        found = grey(tiff(row(-128, -1, 0, 127, dtype=dtype), SIGNED))[0].astype(int)
        assert (np.diff(found) >= 0).all() and found[0] == 0 and found[-1] > found[2] > found[0]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ((0.0, 0.5, 1.0), (0, 128, 255)),
        ((0.0, 0.51, 1.02), (0, 128, 255)),
        ((-0.02, 0.49, 1.0), (0, 128, 255)),
        ((-1.0, 0.0, 1.0), (0, 128, 255)),
        ((0.0, 128.0, 255.0), (0, 128, 255)),
        ((0.0, 3.0, 2.5), (0, 255, 212)),
        ((0.0, 2048.0, 4095.0), (0, 128, 255)),
    ],
)
def test_floats_a_little_over_one_are_not_taken_for_bytes(samples, expected):
    np.testing.assert_array_equal(grey(tiff(row(*samples, dtype=np.float32), FLOAT))[0], expected)


def test_white_is_zero_is_turned_around_at_any_depth():
    for dtype in (np.uint8, np.uint16):
        samples = row(0, np.iinfo(dtype).max, dtype=dtype)
        np.testing.assert_array_equal(grey(tiff(samples, UNSIGNED, photometric=0))[0], [255, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused_also_with_a_window(value):
    for window in (None, (0.0, 1.0)):
        with pytest.raises(Undecodable, match="unsupported pixel format"):
            decode(tiff(row(0.0, value, dtype=np.float32), FLOAT), LIMIT, window)


KINDS = {np.uint16: UNSIGNED, np.int16: SIGNED, np.uint32: UNSIGNED, np.int32: SIGNED}


@settings(max_examples=100, deadline=None)
@given(data=st.data(), dtype=st.sampled_from([np.int8, *KINDS]))
def test_whatever_whole_samples_are_their_order_stays_and_the_image_is_not_near_black(data, dtype):
    ends = np.iinfo(dtype)
    values = st.integers(int(ends.min), int(ends.max)) | st.integers(
        max(int(ends.min), -5000), min(int(ends.max), 5000)
    )
    samples = sorted(data.draw(st.lists(values, min_size=2, max_size=8)))
    found = grey(tiff(row(*samples, dtype=dtype), KINDS.get(dtype, SIGNED)))[0].astype(int)
    assert (np.diff(found) >= 0).all(), "darker samples came out brighter"
    if samples[0] < 0:
        assert found[0] <= 128
    if samples[0] >= 0 and samples[-1] > 255:
        assert found[-1] >= 63, "the brightest sample is near black"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=8))
def test_whatever_float_samples_are_their_order_stays_and_the_image_is_not_near_black(samples):
    found = grey(tiff(row(*sorted(samples), dtype=np.float32), FLOAT))[0].astype(int)
    assert (np.diff(found) >= 0).all()
    if min(samples) >= 0 and max(samples) > 1:
        assert found[-1] >= 127, "the brightest sample is near black"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=6), st.integers(0, 17))
def test_broken_sbit_chunks_end_nothing(samples, bits):
    assert grey(png([samples], significant=bits)).shape == (1, len(samples))


def test_the_window_of_the_configuration_reaches_the_records(tmp_path):
    (tmp_path / "scan.tif").write_bytes(tiff(row(-160, 40, 240, dtype=np.int16), SIGNED))
    found = list(load_shard(DataConfig(path=str(tmp_path), window=(-160, 240)), "record", 0, 1, ("all",)))
    assert found[0].image[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("window", [[1, 1], [5, 2], [0], "wide", [0, float("nan")], [float("-inf"), 0]])
def test_a_window_is_two_numbers_the_lower_first(window):
    with pytest.raises(ConfigError, match="window"):
        parse_section(DataConfig, {"path": "x", "window": window})
