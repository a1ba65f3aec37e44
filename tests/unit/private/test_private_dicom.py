"""DICOM files as scanners write them, odd but valid ones included: what is black, what is white, what casts no vote."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pydicom", reason="needs the extra dicom: make setup, or pip install 'spti-ray[dicom]'")

from spti_ray.config import DataConfig
from spti_ray.private.decode import Undecodable
from spti_ray.private.dicom import decode_dicom, dicom_format
from tests.dicom_files import BIG_ENDIAN, dataset, dicom, encapsulated, written

SETTINGS = DataConfig(path="x", max_pixels=100_000)
CANARY = "CANARY-7f3a"
DEFLATED = "1.2.840.10008.1.2.1.99"


def grey(data: bytes, **changed):
    decoded = decode_dicom(data, SETTINGS.model_copy(update=changed))
    assert decoded.dtype == np.uint8 and (decoded == decoded[..., :1]).all()
    return decoded[..., 0]


def row(*values, dtype=np.uint16):
    return np.array([values], dtype)


def refusal(data: bytes, **changed) -> str:
    with pytest.raises(Undecodable) as caught:
        decode_dicom(data, SETTINGS.model_copy(update=changed))
    assert caught.value.__context__ is None and CANARY not in str(caught.value)
    return caught.value.reason


def test_shades_of_8_bits_are_what_they_are():
    assert grey(dicom(row(0, 1, 200, 255, dtype=np.uint8)))[0].tolist() == [0, 1, 200, 255]
    assert grey(dicom(row(0, 1, 7, 15, dtype=np.uint8), BitsStored=4))[0].tolist() == [0, 17, 119, 255]


def test_the_rescale_comes_before_the_files_window():
    """A window of soft tissue in Hounsfield units, of samples that are stored 1024 higher."""
    stored = row(0, 864, 1064, 1264, 4095)
    data = dicom(stored, BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    assert grey(data)[0].tolist() == [0, 0, 128, 255, 255]


def test_a_window_of_the_settings_replaces_the_files_in_rescaled_units():
    stored = row(0, 864, 1064, 1264, 4095)
    data = dicom(stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=1000, WindowWidth=10)
    assert grey(data, window=(-160.0, 240.0))[0].tolist() == [0, 0, 128, 255, 255]
    # It is about deep samples: shades of 8 bits are left as they are.
    assert grey(dicom(row(0, 200, dtype=np.uint8)), window=(0.0, 4095.0))[0].tolist() == [0, 200]


def test_of_several_windows_the_first_counts():
    data = dicom(row(0, 100, 200, 300), WindowCenter=[100, 1000], WindowWidth=[201, 2000])
    assert grey(data)[0].tolist() == grey(dicom(row(0, 100, 200, 300), WindowCenter=100, WindowWidth=201))[0].tolist()
    assert grey(data)[0].tolist() == [1, 128, 255, 255]


@pytest.mark.parametrize("attributes", [{}, {"WindowCenter": 9, "WindowWidth": 0}, {"WindowCenter": None}])
def test_without_a_window_that_can_be_applied_an_image_is_shown_from_its_lowest_to_its_highest_sample(attributes):
    assert grey(dicom(row(1000, 1500, 2000), **attributes))[0].tolist() == [0, 128, 255]
    assert grey(dicom(row(-500, 0, 500, dtype=np.int16), **attributes))[0].tolist() == [0, 128, 255]
    assert grey(dicom(row(7, 7), **attributes))[0].tolist() == [0, 0]


@pytest.mark.parametrize(("function", "expected"), [("LINEAR_EXACT", [0, 128, 255]), ("SIGMOID", [5, 128, 250])])
def test_windows_of_other_shapes(function, expected):
    width = 100 if function == "SIGMOID" else 200
    data = dicom(row(0, 100, 200), WindowCenter=100, WindowWidth=width, VOILUTFunction=function)
    assert grey(data)[0].tolist() == expected


def test_monochrome1_is_turned_once_whatever_else_says_so():
    stored = row(1000, 1500, 2000)
    for more in ({}, {"PresentationLUTShape": "INVERSE"}):
        assert grey(dicom(stored, PhotometricInterpretation="MONOCHROME1", **more))[0].tolist() == [255, 127, 0]
    assert grey(dicom(stored, PresentationLUTShape="INVERSE"))[0].tolist() == [255, 127, 0]
    windowed = {"WindowCenter": 1500, "WindowWidth": 1001}
    assert grey(dicom(stored, PhotometricInterpretation="MONOCHROME1", **windowed))[0].tolist() == [255, 127, 0]


def test_padding_is_black_and_does_not_count_for_the_extremes():
    stored = row(-2000, -1000, 0, 1000, dtype=np.int16)
    assert grey(dicom(stored, PixelPaddingValue=-2000))[0].tolist() == [0, 0, 128, 255]
    inverted = dicom(stored, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    assert grey(inverted)[0].tolist() == [0, 255, 127, 0]
    ranged = dicom(row(0, 1, 2, 500, 1000), PixelPaddingValue=0, PixelPaddingRangeLimit=2)
    assert grey(ranged)[0].tolist() == [0, 0, 0, 0, 255]


def test_padding_of_signed_samples_may_be_written_as_an_unsigned_number():
    found = dataset(row(-2000, -1000, 0, 1000, dtype=np.int16))
    found.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    assert grey(written(found))[0].tolist() == [0, 0, 128, 255]


def test_bits_above_those_that_are_stored_are_no_part_of_a_sample():
    stored = row(0xF000, 0xF000 | 2048, 4095)
    assert grey(dicom(stored, BitsStored=12))[0].tolist() == [0, 128, 255]
    signed = row(0x0800, 0, 0x07FF)  # -2048, 0, 2047 of 12 bits
    found = dataset(signed, BitsStored=12, PixelRepresentation=1)
    assert grey(written(found))[0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int32])
def test_big_endian_files_show_the_same(dtype):
    stored = np.arange(12, dtype=dtype).reshape(3, 4) * 9
    np.testing.assert_array_equal(grey(dicom(stored, BIG_ENDIAN)), grey(dicom(stored)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_shown_from_lowest_to_highest_and_none_may_be_no_number(dtype):
    assert grey(dicom(row(-1.0, 0.0, 1.0, dtype=dtype)))[0].tolist() == [0, 128, 255]
    assert refusal(dicom(row(0.0, np.nan, dtype=dtype))) == "unsupported pixel format"


def table(values, first=0, bits=16, signed=False):
    from pydicom.dataset import Dataset

    found = Dataset()
    found.add_new("LUTDescriptor", "SS" if signed else "US", [len(values), first, bits])
    found.add_new("LUTData", "US", list(values))
    return found


def test_tables_of_the_file_are_looked_up_and_their_ends_hold_beyond_them():
    squares = [i * i for i in range(256)]
    data = dicom(row(0, 9, 100, 110, 355, 4000), VOILUTSequence=[table(squares, first=100)])
    expected = [0, 0, 0, 100, 65025, 65025]
    assert grey(data)[0].tolist() == [round(value * 255 / 65535) for value in expected]
    modality = dicom(row(0, 1, 2, 9), ModalityLUTSequence=[table([50, 60, 70])], WindowCenter=60, WindowWidth=21)
    assert grey(modality)[0].tolist() == grey(dicom(row(50, 60, 70, 70), WindowCenter=60, WindowWidth=21))[0].tolist()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_no_sample_however_large_wraps_around_in_a_table(dtype):
    low = -5 if dtype is np.int16 else 5
    limits = np.iinfo(dtype)
    found = dataset(row(limits.min, low, limits.max, dtype=dtype))
    found.ModalityLUTSequence = [table([10, 20, 30], first=low, signed=dtype is np.int16)]
    assert grey(written(found))[0].tolist() == [0, 0, 255]
    wide = dataset(row(0, 2**16, 2**31 - 1, dtype=np.int32), VOILUTSequence=[table([0, 65535])])
    assert grey(written(wide))[0].tolist() == [0, 255, 255]


def test_a_frame_has_its_own_rescale_and_window():
    from pydicom.dataset import Dataset

    def frame(intercept, center):
        value, window, item = Dataset(), Dataset(), Dataset()
        value.RescaleSlope, value.RescaleIntercept = 1, intercept
        window.WindowCenter, window.WindowWidth = center, 201
        item.PixelValueTransformationSequence, item.FrameVOILUTSequence = [value], [window]
        return item

    frames = np.array([[[0, 100, 200, 200]], [[0, 100, 200, 200]]], np.uint16)
    found = dataset(frames, PerFrameFunctionalGroupsSequence=[frame(0, 100), frame(1000, 1200)])
    assert grey(written(found), frame=1)[0].tolist() == [1, 128, 255, 255]
    assert grey(written(found), frame=2)[0].tolist() == [0, 1, 128, 128]
    del found.PerFrameFunctionalGroupsSequence
    found.SharedFunctionalGroupsSequence = [frame(1000, 1000)]
    assert grey(written(found), frame=2)[0].tolist() == [128, 255, 255, 255]


def test_several_frames_are_refused_unless_one_is_named():
    frames = np.array([np.full((2, 4), value) for value in (10, 20, 30)], np.uint8)
    assert refusal(dicom(frames)) == "several frames"
    assert [int(grey(dicom(frames), frame=number)[0, 0]) for number in (1, 2, 3)] == [10, 20, 30]
    assert refusal(dicom(frames), frame=4) == "no such frame"
    assert grey(dicom(frames[0]), frame=3)[0, 0] == 10, "a file of one frame needs no setting"


RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


def test_colours_by_pixel_and_by_plane():
    np.testing.assert_array_equal(decode_dicom(dicom(RGB), SETTINGS), RGB)
    planes = dataset(RGB, PlanarConfiguration=1)
    planes.PixelData = RGB.transpose(2, 0, 1).tobytes() + b"\0"
    np.testing.assert_array_equal(decode_dicom(written(planes), SETTINGS), RGB)


def test_colours_of_more_bits_are_brought_to_8():
    deep = RGB.astype(np.uint16) * 16
    found = decode_dicom(dicom(deep, BitsStored=12), SETTINGS)
    np.testing.assert_array_equal(found, np.rint(deep * 255.0 / 4095))


def test_ybr_becomes_rgb():
    from pydicom.pixels import convert_color_space

    ybr = convert_color_space(RGB, "RGB", "YBR_FULL")
    found = decode_dicom(dicom(ybr, PhotometricInterpretation="YBR_FULL"), SETTINGS)
    assert np.abs(found.astype(int) - RGB).max() <= 2


def palette(bits, syntax="1.2.840.10008.1.2.1", entries=4, first=0, indices=(0, 1, 2, 3)):
    found = dataset(row(*indices, dtype=np.uint8), syntax, PhotometricInterpretation="PALETTE COLOR")
    for number, name in enumerate(("Red", "Green", "Blue")):
        setattr(found, f"{name}PaletteColorLookupTableDescriptor", [entries, first, bits])
        values = (np.arange(entries) * (number + 1) * 10).astype(np.uint16)
        data = ((values * 257).astype("<u2") if bits == 16 else values.astype(np.uint8)).tobytes()
        setattr(found, f"{name}PaletteColorLookupTableData", data + bytes(len(data) % 2))
    return written(found)


@pytest.mark.parametrize("bits", [8, 16])
def test_indices_become_the_colours_of_the_palette_and_those_beyond_it_its_ends(bits):
    expected = [[0, 0, 0], [10, 20, 30], [20, 40, 60], [30, 60, 90]]
    assert decode_dicom(palette(bits), SETTINGS)[0].tolist() == expected
    assert decode_dicom(palette(bits, entries=5), SETTINGS)[0].tolist() == expected, "of odd length"
    shifted = decode_dicom(palette(bits, first=2, indices=(0, 2, 3, 200)), SETTINGS)[0].tolist()
    assert shifted == [expected[0], expected[0], expected[1], expected[3]]


def test_palettes_that_pydicom_reads_wrongly_or_that_may_be_of_any_size_are_refused():
    assert refusal(palette(16, BIG_ENDIAN)) == "unsupported pixel format"
    assert refusal(palette(8, entries=300)) == "unsupported pixel format"
    segments = dataset(row(0, 1, dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(segments, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(segments, f"Segmented{name}PaletteColorLookupTableData", bytes([1, 0, 255, 255, 255, 255]) * 1000)
    assert refusal(written(segments)) == "unsupported pixel format"


def test_what_is_no_image_of_a_known_form_casts_no_vote():
    assert refusal(b"") == "not an image"
    assert refusal(b"\x89PNG" + bytes(500)) == "not an image"
    without = dataset(row(1, 2))
    del without.PixelData
    assert refusal(written(without)) == "not an image"


def test_samples_that_do_not_begin_at_the_lowest_bit_are_refused():
    found = dataset(row(1 << 4, 2 << 4), BitsStored=12)
    found.HighBit = 15
    assert refusal(written(found)) == "unsupported pixel format"


def test_an_image_over_the_limit_is_refused_from_its_header():
    assert refusal(dicom(np.zeros((400, 400), np.uint8))) == "too many pixels"
    lying = dataset(row(1, 2), Rows=60_000, Columns=60_000)
    assert refusal(written(lying)) == "too many pixels"


def test_a_data_set_that_is_compressed_as_a_whole_is_not_inflated(monkeypatch):
    import zlib

    data = written(dataset(row(1, 2), DEFLATED))
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("inflated"))
    assert refusal(data) == "unknown compression"


def test_unknown_compressions_are_refused():
    video = encapsulated(row(1, 2), "1.2.840.10008.1.2.4.102", b"\0\0\0\1video.")
    assert refusal(video) == "unknown compression"


def test_nothing_of_a_file_is_logged_warned_of_or_raised(caplog, capfd):
    found = dataset(row(1, 2, 3), PatientID=CANARY, WindowCenter=2, WindowWidth=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.add_new("PatientBirthDate", "DA", CANARY)  # not valid: pydicom warns of it
        found.PixelData = found.PixelData + CANARY.encode() * 4
        data = written(found)
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        assert grey(data).shape == (1, 3)
        for end in range(140, len(data), 37):
            with pytest.raises(Undecodable):
                decode_dicom(data[:end].replace(b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.5"), SETTINGS)
    shown = caplog.text + "".join(capfd.readouterr()) + " ".join(str(entry.message) for entry in warned)
    assert CANARY not in shown and not shown.strip()


def test_a_files_form_is_told_in_words_and_whether_it_lacks_a_window():
    assert dicom_format(dicom(row(1, 2), BitsStored=12)) == (
        "DICOM, MONOCHROME2 of 12 bits, Explicit VR Little Endian",
        True,
    )
    assert not dicom_format(dicom(row(1, 2), WindowCenter=1, WindowWidth=2))[1]
    assert not dicom_format(dicom(row(1, 2, dtype=np.uint8)))[1]
    assert dicom_format(dicom(row(-1, 2, dtype=np.int8)))[1]
    assert dicom_format(b"no such file") == ("", False)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_valid_grey_file_gives_an_image_that_keeps_the_order_of_its_samples(draw):
    """Whatever bits, sign, order of bytes, rescale, window, padding there are: brighter stays brighter, or turns."""
    pick = draw.draw
    dtype = np.dtype(pick(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"])))
    bits = pick(st.integers(1 if dtype.kind == "u" else 2, dtype.itemsize * 8))
    low, high = (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    values = pick(st.lists(st.integers(low, high), min_size=1, max_size=12))
    more = {"BitsStored": bits}
    if pick(st.booleans()):
        more |= {"RescaleSlope": pick(st.sampled_from([0.5, 1, 3])), "RescaleIntercept": pick(st.integers(-2000, 2000))}
    if pick(st.booleans()):
        more |= {"WindowCenter": pick(st.integers(-2000, 2000)), "WindowWidth": pick(st.integers(0, 4000))}
    if pick(st.booleans()):
        more["PhotometricInterpretation"] = "MONOCHROME1"
    padding = pick(st.sampled_from([None, low, values[0]]))
    if padding is not None and dtype.itemsize < 4:
        more["PixelPaddingValue"] = padding
    window = pick(st.sampled_from([None, (-160.0, 240.0)]))
    syntax = pick(st.sampled_from(["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN]))
    shown = grey(dicom(np.array([values], dtype), syntax, **more), window=window)[0].astype(int)
    kept = [
        (value, int(grey)) for value, grey in zip(values, shown, strict=True) if value != more.get("PixelPaddingValue")
    ]
    assert all(grey == 0 for value, grey in zip(values, shown, strict=True) if value == more.get("PixelPaddingValue"))
    kept.sort(key=lambda pair: pair[0], reverse="PhotometricInterpretation" in more)
    greys = [grey for _, grey in kept]
    assert greys == sorted(greys)
    assert all(a == b for (x, a), (y, b) in zip(kept, kept[1:], strict=False) if x == y)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=True))
def test_damage_gives_an_image_or_a_reason_and_nothing_else(rng):
    data = bytearray(
        dicom(np.arange(64, dtype=np.int16).reshape(8, 8), PatientID=CANARY, WindowCenter=9, WindowWidth=9)
    )
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(132, len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    try:
        decoded = decode_dicom(bytes(data), SETTINGS)
    except Undecodable as error:
        assert error.__context__ is None and CANARY not in str(error)
    else:
        assert decoded.dtype == np.uint8 and decoded.ndim == 3 and decoded.shape[2] == 3
    assert dicom_format(bytes(data)) is not None and io
