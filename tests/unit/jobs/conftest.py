"""Three emoji by two vendors, laid out as npm lays out the packages that the real training data come from."""

import json
from pathlib import Path

import pytest

from jobs.embedded import data
from jobs.embedded.icons import EMOJIBASE, SETS

EMOJI = [
    {"label": "red apple", "hexcode": "1F34E", "tags": ["fruit"], "group": 4, "subgroup": 30},
    {"label": "dog face", "hexcode": "1F436", "tags": ["dog", "pet"], "group": 3, "subgroup": 20},
    {"label": "red heart", "hexcode": "2764-FE0F", "tags": ["love"], "group": 0, "subgroup": 5},
    {"label": "flag: Chad", "hexcode": "1F1F9-1F1E9", "tags": [], "group": 9, "subgroup": 90},
]
GROUPS = {
    "groups": {"0": "smileys-emotion", "3": "animals-nature", "4": "food-drink", "9": "flags"},
    "subgroups": {"5": "heart", "20": "animal-mammal", "30": "food-fruit", "90": "country-flag"},
}
GRADIENT = (
    '<defs><linearGradient id="g"><stop stop-color="#ff0000"/><stop offset="1" stop-color="#800000"/></linearGradient>'
    '</defs><circle cx="8" cy="9" r="6" fill="url(#g)"/><path fill="#0a0" d="M8 1h3v3H8z"/>'
)
BODIES = {
    "red-apple": GRADIENT,
    "dog-face": '<path fill="#850" d="M2 2h12v12H2z"/><path fill="none" stroke="black" d="M4 4h8"/>',
    "red-heart": '<path fill="red" d="M8 15L1 7l4-5l3 2l3-2l4 5z"/>',
    "flag-chad": '<path fill="#00f" d="M0 0h16v16H0z"/>',
    "a-letter": '<path fill="#000" d="M0 0h16v16H0z"/>',
}
CHARACTERS = {
    "1f34e": "red-apple",
    "1f436": "dog-face",
    "2764": "red-heart",
    "1f1f9-1f1e9": "flag-chad",
    "61": "a-letter",
}


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the data made, from packages that need no network."""
    work = tmp_path_factory.mktemp("embedded")
    modules = work / "npm" / "node_modules"
    base = modules / "emojibase-data"
    (base / "en").mkdir(parents=True)
    (base / "meta").mkdir()
    (base / "en" / "data.json").write_text(json.dumps(EMOJI))
    (base / "meta" / "groups.json").write_text(json.dumps(GROUPS))
    for icon_set in SETS:
        folder = modules / "@iconify-json" / icon_set.name
        folder.mkdir(parents=True)
        icons = {name: {"body": body} for name, body in BODIES.items()}
        (folder / "icons.json").write_text(json.dumps({"icons": icons, "width": 16, "height": 16}))
        if icon_set.name in ("noto", "twemoji"):
            (folder / "chars.json").write_text(json.dumps(CHARACTERS))
    packages = [icon_set.package for icon_set in SETS] + [EMOJIBASE]
    (work / "npm" / "packages.txt").write_text("\n".join(packages))
    data.make(work)
    return work
