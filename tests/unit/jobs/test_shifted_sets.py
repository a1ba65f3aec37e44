"""jobs/shifted_sets.py: the halves of which one votes and one tests classifiers."""

from jobs.embedded.icons import Emoji, Icon
from jobs.shifted_sets import in_halves, table_of
from tests.unit.jobs.conftest import GRADIENT

SVG = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{GRADIENT}</svg>'


def icons():
    emoji = [Emoji(f"thing {i}", "objects" if i % 2 else "symbols", "", ()) for i in range(20)]
    return [Icon(each, vendor, False, SVG) for each in emoji for vendor in ("noto-v1", "fxemoji")]


def test_no_emoji_is_in_both_halves_and_none_is_lost():
    voting, held_out = in_halves(icons())
    names = [{icon.emoji.name for icon in half} for half in (voting, held_out)]
    assert not names[0] & names[1] and len(names[0]) == len(names[1]) == 10
    assert len(voting) + len(held_out) == 40
    assert in_halves(icons()) == (voting, held_out), "always the same"


def test_an_icons_label_is_its_subject_group():
    table = table_of(icons()[:4])
    assert table["label"].to_pylist() == ["symbols", "symbols", "objects", "objects"]
