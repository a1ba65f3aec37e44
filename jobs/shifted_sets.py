"""Private sets whose subjects are not those that a language model names by itself, for studies that tune on none.

    python -m jobs.shifted_sets --work runs/shifted

Four sets of icons by subject group, of vendors whose drawings no bundled model was trained on, and two of another
vendor's, on which settings may be chosen; and the icons of all groups in two halves with no emoji in both, one that
votes and one that classifiers are tested on (`jobs/shifted-labelled.yaml`). Each is a Parquet file of 64-pixel PNGs
with the columns `image`, `label` (the subject group), `source` and `name`. The icons come from npm (licences:
THIRD_PARTY_NOTICES.md; OpenMoji is CC BY-SA 4.0), and nothing of them is kept in this repository.
"""

from __future__ import annotations

import argparse
import io
import random
from pathlib import Path

import pyarrow as pa
from PIL import Image

from jobs.embedded.icons import Icon, IconSet, fetch, rasterise, read_icons
from spti_ray.io.files import write_table_atomic

SIZE = 64

UNSEEN = (
    IconSet("fluent-emoji-flat", "1.2.6", "MIT", drawn=False),
    IconSet("noto-v1", "1.2.5", "Apache-2.0", drawn=False),
    IconSet("fxemoji", "1.2.2", "CC-BY-4.0", drawn=False),
    IconSet("streamline-emojis", "1.2.4", "CC-BY-4.0", drawn=False),
)
"""Vendors of the private sets, as those of the sample private set."""

TO_TUNE = (IconSet("openmoji", "1.2.29", "CC-BY-SA-4.0", drawn=False),)
"""A vendor whose drawings the bundled renderer was not trained on, for the sets on which settings are chosen."""

REPORTED = {
    "objects-symbols": ("objects", "symbols"),
    "animals-nature": ("animals-nature",),
    "smileys-people": ("smileys-emotion", "people-body"),
    "travel-activities": ("travel-places", "activities"),
}
"""The sets that results are reported for, and their groups of Unicode's emoji."""

TUNED = {
    "tune-food-objects": ("food-drink", "objects"),
    "tune-people-travel": ("people-body", "travel-places"),
}
"""The sets that settings are chosen on; no result is reported for them."""

VOTING, HELD_OUT = "labelled-voting", "labelled-heldout"
"""The icons of all groups that have a label of their own to be learnt: those that vote, and those that never do."""

MOST = 1200
"""Icons of a set, drawn at random: about as many as the sample private set has."""


def make(work: Path) -> None:
    """Write the sets that are not there yet into `work`."""
    for sets, vendors, npm in ((REPORTED, UNSEEN, "npm"), (TUNED, TO_TUNE, "npm-tune")):
        files = {name: work / f"{name}.parquet" for name in sets}
        if all(file.exists() for file in files.values()):
            continue
        fetch(work / npm, vendors)
        icons = list(read_icons(work / npm, vendors))
        for name, groups in sets.items():
            chosen = [icon for icon in icons if icon.emoji.group in groups]
            random.Random(name).shuffle(chosen)
            write_table_atomic(files[name], table_of(chosen[:MOST]))
            print(f"{files[name]}: {len(chosen[:MOST])} of {len(chosen)} icons")
    halves = {name: work / f"{name}.parquet" for name in (VOTING, HELD_OUT)}
    if not all(file.exists() for file in halves.values()):
        fetch(work / "npm", UNSEEN)
        voting, held_out = in_halves(list(read_icons(work / "npm", UNSEEN)))
        # A drawing that two emoji share would be tested by who has seen it.
        table, other = table_of(voting), table_of(held_out)
        seen = {image["bytes"] for image in table["image"].to_pylist()}
        other = other.filter(pa.array([image["bytes"] not in seen for image in other["image"].to_pylist()]))
        for name, half in ((VOTING, table), (HELD_OUT, other)):
            write_table_atomic(halves[name], half)
            print(f"{halves[name]}: {len(half)} icons")


def in_halves(icons: list[Icon]) -> tuple[list[Icon], list[Icon]]:
    """Half of the emoji, and the others, each in a random order that is always the same.

    All vendors' drawings of an emoji are in one half, since they are alike.
    """
    names = sorted({icon.emoji.name for icon in icons})
    order = random.Random(VOTING)
    order.shuffle(names)
    first = set(names[: len(names) // 2])
    voting = [icon for icon in icons if icon.emoji.name in first]
    held_out = [icon for icon in icons if icon.emoji.name not in first]
    order.shuffle(voting)
    order.shuffle(held_out)
    return voting, held_out


def table_of(icons: list[Icon]) -> pa.Table:
    """The icons as the reader of Parquet files takes them."""
    rows = [
        {
            "image": {"bytes": _png(icon), "path": None},
            "label": icon.emoji.group,
            "source": icon.source,
            "name": icon.emoji.name,
        }
        for icon in icons
    ]
    return pa.Table.from_pylist(rows)


def _png(icon: Icon) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rasterise(icon.svg, SIZE)).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/shifted"))
    make(parser.parse_args().work)


if __name__ == "__main__":
    main()
