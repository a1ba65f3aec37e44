"""The head of a data card, as the Hugging Face Hub reads it: YAML before the Markdown.

It names no files and no columns (`configs`, `dataset_info`): loaders find the data of every export without, and nobody
who alters a card can lead them elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from spti_ray.config import Config

_KNOWN = frozenset(
    (
        "apache-2.0 bsd-2-clause bsd-3-clause cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
        "cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 "
        "cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-2.0 gpl-3.0 lgpl-3.0 mit mpl-2.0 unlicense"
    ).split()
)
"""SPDX identifiers, in small letters, that the Hub has for licences too
(https://huggingface.co/docs/hub/repositories-licenses). It takes others as `other` with a name and an address."""

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def card_head(config: Config, num_images: int, labels: Mapping[str, int], has_certificate: bool) -> str:
    """The head without the lines around it, which is valid YAML whatever the settings are.

    Args:
        config: The run's configuration.
        num_images: Images of the release.
        labels: The labels, if there are any.
        has_certificate: Whether the release is differentially private, and says so.
    """
    card = config.release.card
    head: dict[str, Any] = {"pretty_name": " ".join(config.title.split())}
    if card.license:
        name = card.license.lower()
        other = {"license_name": name if "://" not in name else "see-link", "license_link": card.license_url}
        head |= {"license": name} if name in _KNOWN else {"license": "other"} | other
    tasks = ["text-to-image"] + (["image-classification"] if labels else [])
    tags = ["synthetic"] + (["differential-privacy"] if has_certificate else []) + ["spti-ray"]
    return yaml.safe_dump(
        head
        | {
            "task_categories": tasks,
            "tags": tags,
            "annotations_creators": ["machine-generated"],
            "language_creators": ["machine-generated"],
            "size_categories": [next((name for limit, name in _SIZES if num_images < limit), "n>10M")],
        },
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
