"""What a run leaves that is not private (`method: captions`, epsilon inf): images for the owner's eyes, marked as such.

There is no release and no certificate. All of it lies in the run's internal folder, which is closed to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from spti_ray.config import Config
from spti_ray.files import close_to_others, sha256_of, write_atomic, write_table_atomic
from spti_ray.public.release import Models, manifest
from spti_ray.rundir import MARK
from spti_ray.types import ReleaseItem


def seal(folder: Path, config: Config, items: Sequence[ReleaseItem] | None, models: Models) -> None:
    """Write manifest and mark beside `folder`/images, the mark last, and close all of it to others.

    `items`: what the images are; None for renders of captions, of which only the label is kept.
    """
    if items is None:
        paths = sorted((folder / "images").glob("*.png"))
        labels = config.evolution.label_names
        table = pa.table(
            {
                "file": [f"images/{path.name}" for path in paths],
                "sha256": [sha256_of(path) for path in paths],
                "label": [labels[int(path.name.split("-")[0])] for path in paths],
            }
        )
    else:
        table = manifest(items, models, [sha256_of(folder / item.file) for item in items], config.method)
    write_table_atomic(folder / "manifest.parquet", table)
    write_atomic(folder / MARK, _MARK_TEXT.format(what=config.not_private))
    close_to_others(folder.parent)


_MARK_TEXT = """NOT PRIVATE: {what}.

Nothing protects the private images in what lies here: no epsilon holds, there is no certificate, and the folder is for
the data's owner alone. Do not share it, and do not choose what is released by it: a choice made by looking at this is
covered by no certificate. The ledger of the data set records that these images were made.
"""
