"""What a PNG says of itself is replaced; its pixels are not touched."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from spti_ray.provenance.png_chunks import NotPng, has_manifest_store, with_xmp, xmp_of


def png(**more) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, "PNG", **more)
    return buffer.getvalue()


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=50), st.text(max_size=50))
def test_xmp_is_read_back_replaced_and_taken_out_again(first, second):
    bare = png()
    marked = with_xmp(with_xmp(bare, first), second)
    assert xmp_of(marked) == second and with_xmp(marked, second) == marked
    assert with_xmp(marked, None) == bare and xmp_of(bare) is None


def test_pillow_reads_the_xmp_and_the_same_pixels():
    marked = with_xmp(png(), "<x/>")
    with Image.open(io.BytesIO(marked)) as image, Image.open(io.BytesIO(png())) as before:
        assert image.info["xmp"] == b"<x/>"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(before))


def test_xmp_that_pillow_wrote_is_replaced_and_other_texts_stay():
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "of another", zip=True)
    info.add_text("Comment", "stays")
    marked = with_xmp(png(pnginfo=info), "ours")
    with Image.open(io.BytesIO(marked)) as image:
        image.load()
        assert image.info["xmp"] == b"ours" and image.info["Comment"] == "stays"
    assert marked.count(b"XML:com.adobe.xmp") == 1


def test_two_packets_are_none():
    marked = with_xmp(png(), "a")
    start, end = 33, marked.index(b"IDAT") - 4  # behind the header
    assert xmp_of(marked[:end] + marked[start:end] + marked[end:]) is None


def test_a_manifest_store_goes_when_the_xmp_changes():
    """It would be that of another file."""
    bare = png()
    store = b"\0\0\0\x02caBXxx\0\0\0\0"
    signed = bare[:33] + store + bare[33:]
    assert has_manifest_store(signed) and not has_manifest_store(bare)
    assert with_xmp(signed, None) == bare


@pytest.mark.parametrize("content", [b"", b"GIF89a", png()[:-12], png()[:40], png()[:35]])
def test_what_is_no_whole_png_is_refused(content):
    with pytest.raises(NotPng):
        with_xmp(content, "a")
