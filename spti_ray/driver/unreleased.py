"""What a run leaves that is no release: images that are not private, or whose epsilon no certificate vouches for.

They are for the owner's eyes, and marked as such.

There is no release and no certificate. All of it lies in the run's internal folder, which is closed to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from spti_ray.config import Config
from spti_ray.config.method_traits import why_not_certified, why_not_private
from spti_ray.figures import at_least
from spti_ray.io.files import restrict_to_owner, write_atomic, write_table_atomic
from spti_ray.provenance.marks import BARE, Marks
from spti_ray.public.filtered import Filtered, with_filtered
from spti_ray.public.finished_images import finish_images
from spti_ray.public.release import Models, manifest
from spti_ray.runs.folder import NOT_CERTIFIED, NOT_PRIVATE
from spti_ray.types import ReleaseItem


def write_unreleased(
    folder: Path,
    config: Config,
    items: Sequence[ReleaseItem] | None,
    models: Models,
    marks: Marks = BARE,
    filtered: Filtered | None = None,
) -> None:
    """Write manifest and mark beside `folder`/images, the mark last, and close all of it to others.

    Args:
        folder: the folder of the images, in the run's internal one.
        config: the run's configuration.
        items: what the images are; None for renders of captions, of which only the label is kept.
        models: the models that the run used.
        marks: what each image says of itself.
        filtered: what the filters of the images did, if there are any.
    """
    if items is None:
        files = [f"images/{path.name}" for path in sorted((folder / "images").glob("*.png"))]
        labels = config.evolution.label_names
        table = pa.table(
            {
                "file": files,
                "sha256": finish_images(folder, files, marks),
                "label": [labels[int(PurePosixPath(file).name.split("-")[0])] for file in files],
            }
        )
    else:
        hashes = finish_images(folder, [item.file for item in items], marks)
        table = manifest(items, models, hashes, config.method)
    write_table_atomic(folder / "manifest.parquet", with_filtered(table, filtered))
    if unprotected := why_not_private(config):
        write_atomic(folder / NOT_PRIVATE, _NOT_PRIVATE_TEXT.format(what=unprotected))
    else:
        privacy = config.privacy
        text = _NOT_CERTIFIED_TEXT.format(
            what=why_not_certified(config),
            epsilon=at_least(privacy.epsilon),
            delta=at_least(privacy.delta),
            unit=config.unit_in_words,
        )
        write_atomic(folder / NOT_CERTIFIED, text)
    restrict_to_owner(folder.parent)


_NOT_PRIVATE_TEXT = """NOT PRIVATE: {what}.

Nothing protects the private images in what lies here: no epsilon holds, there is no certificate, and the folder is for
the data's owner alone. Do not share it, and do not choose what is released by it: a choice made by looking at this is
covered by no certificate. The ledger of the data set records that these images were made.
"""

_NOT_CERTIFIED_TEXT = """NOT CERTIFIED: {what}.

Images of the renderer after DP-SGD on the private images, at epsilon {epsilon} and delta {delta} per {unit} under
add/remove. That figure is proved for exact arithmetic. Gradients and noise were float32, and the noise was not drawn
by the gate: so there is no certificate, nothing was charged to the data set's lifetime budget, and this is not a
release. It is internal, for comparing methods. Do not share it. The ledger of the data set records that it was made.

The steps, the noise and what they cost are in ../finetune/finetune.json.
"""
