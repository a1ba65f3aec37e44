"""Names of files and folders: one form for all ways to write one, and never one form for two that differ."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from spti_ray.private.names import file_key, first_folder, partitions

PARTS = st.text("aAb.-_ é\u0301ßÅ\u212b中", min_size=1, max_size=6).filter(
    lambda part: part.strip() == part and not part.startswith(".")
)
PATHS = st.lists(PARTS, min_size=1, max_size=4)


@given(PATHS, st.sampled_from([".png", ".PNG", ".Jpg"]))
def test_all_ways_to_write_a_path_have_one_key(parts, ending):
    parts[-1] += ending
    key = file_key("/".join(parts))
    assert file_key(key) == key
    ways = ["./" + "/".join(parts), "\\".join(parts), "//".join(parts), "/./".join(parts), f" {'/'.join(parts)}\n"]
    ways += [unicodedata.normalize(form, way) for form in ("NFC", "NFD") for way in ways]
    ways.append("/".join(parts)[: -len(ending)] + ending.swapcase())
    assert {file_key(way) for way in ways} == {key}


@given(PATHS, PATHS)
@example(["a.png"], ["A.png"])
@example(["a", "b.png"], ["b.png"])
def test_other_paths_have_other_keys(one, other):
    one, other = ([unicodedata.normalize("NFC", part) for part in parts] for parts in (one, other))
    if one != other and (one[:-1] != other[:-1] or one[-1].lower() != other[-1].lower()):
        assert file_key("/".join(one)) != file_key("/".join(other))


def test_a_file_in_no_folder_has_no_label():
    assert first_folder("1.png") is None and first_folder("cafe\u0301 /x/1.png") == "café"


def test_partitions_are_folders_and_never_the_file():
    assert partitions("a=1/b=x%2Fy/c/=2/d=3.parquet") == {"a": "1", "b": "x/y"}
    assert partitions("a=__HIVE_DEFAULT_PARTITION__/0.parquet") == {"a": None}
