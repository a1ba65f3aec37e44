"""What the page of `spti check` says, from what shards wrote down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spti_ray.check.summary import NAMES, summarise
from spti_ray.internal_pages import data_uri, write_page
from spti_ray.private.survey import PICTURES, Surveyed

ALL = ("all",)


def surveyed(index, label="all", group=None, pixels=None, problem=None, **more):
    given_pixels = f"p{index}" if pixels is None and problem is None else pixels or ""
    defaults = {
        "name": f"{index}.png",
        "unlisted": None,
        "format": "PNG, 8-bit colour",
        "is_deep": False,
        "width": 16,
        "height": 8,
        "thumbnail": b"jpeg" if problem is None else b"",
    }
    return Surveyed(index=index, label=label, group=group, pixels=given_pixels, problem=problem, **defaults | more)


def page_of(summary, folder, **values):
    defaults = {"last": "", "stopped": "", "data": "scans", "window": None, "grouped": False, "has_labels": False}
    write_page(folder / "page.html", "check.html.j2", summary=summary, data_uri=data_uri, **defaults | values)
    return (folder / "page.html").read_text()


def test_a_group_votes_under_the_label_of_its_first_usable_record():
    records = [
        surveyed(0, "b", "anna", problem="not an image"),
        surveyed(1, "a", "anna"),
        surveyed(2, "b", "anna"),
        surveyed(3, "b", "bert"),
        surveyed(4, None, None, problem="no listed label", unlisted="c"),
        surveyed(5, "a", None, problem="no group"),
    ]
    found = summarise(reversed(records), ("a", "b"), grouped=True)
    assert [(row.label, row.records, row.voting, row.units) for row in found.labels] == [
        ("a", 2, 1, 1),
        ("b", 3, 2, 1),
    ]
    assert found.groups is not None and found.groups.mixed == (("anna", (("a", 1), ("b", 1))),)
    assert (found.groups.count, found.groups.unheard, found.unlisted) == (2, 1, (("c", 1),))
    assert [(listed.heading, listed.names) for listed in found.problems] == [
        ("not an image", ("0.png",)),
        ("no listed label", ("4.png",)),
        ("no group", ("5.png",)),
    ]


def test_equal_images_are_told_with_those_that_are_in_several_groups():
    records = [surveyed(0, group="x", pixels="one"), surveyed(1, group="y", pixels="one"), surveyed(2, group="x")]
    found = summarise(records, ALL, grouped=True)
    assert (found.duplicated, found.across_groups) == (1, 1)
    assert found.duplicates[0].names == ("0.png", "1.png")


def test_deep_pixels_are_named_only_where_no_window_is_set(tmp_path):
    summary = summarise([surveyed(0, is_deep=True, name="deep.tif")], ALL, grouped=False)
    alone = page_of(summary, tmp_path / "a")
    assert "without data.window: 1" in alone and "<li>deep.tif</li>" in alone
    windowed = page_of(summary, tmp_path / "b", window=(0, 4095))
    assert "without data.window" not in windowed and "<li>deep.tif</li>" not in windowed


def test_names_are_text_on_the_page_whatever_they_are(tmp_path):
    script = "<script>alert(1)</script>"
    records = [surveyed(0, name=script), surveyed(1, name=script, problem=script), surveyed(2, pixels="p0")]
    page = page_of(summarise(records, ALL, grouped=False), tmp_path / "page")
    assert "<script>" not in page and page.count("&lt;script&gt;") >= 3


def test_many_records_are_counted_and_the_first_are_named(tmp_path):
    records = [surveyed(i, problem="not an image") for i in range(NAMES + 3)]
    page = page_of(summarise(records, ALL, grouped=False), tmp_path / "page")
    assert f"<li>{NAMES - 1}.png</li>" in page and f"<li>{NAMES}.png</li>" not in page and "and 3 more" in page


@given(st.lists(st.sampled_from("abc"), max_size=400))
def test_the_contact_sheet_is_a_part_of_each_label(labels):
    found = summarise([surveyed(i, label) for i, label in enumerate(labels)], ("a", "b", "c"), grouped=False)
    assert {label for label, _ in found.pictures} == set(labels)
    assert sum(len(records) for _, records in found.pictures) <= PICTURES
    assert all(record.label == label for label, records in found.pictures for record in records)
