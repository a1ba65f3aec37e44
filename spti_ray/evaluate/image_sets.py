"""Sets of generated images to evaluate: a run's release, one of its generations, or any folder of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from spti_ray.config.loading import ConfigError
from spti_ray.config.parsing import parse_json
from spti_ray.io.files import is_inside
from spti_ray.private.decode import Undecodable, decode
from spti_ray.private.listing import image_files
from spti_ray.types import SINGLE_LABEL, ImageArray

_MAX_PIXELS = 64_000_000


class Images(Sequence[ImageArray]):
    """A sequence of encoded images, each decoded when it is asked for: HWC uint8 RGB."""

    def __init__(self, encoded: Sequence[bytes | Path]) -> None:
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, index: int) -> ImageArray: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageArray]: ...
    def __getitem__(self, index: int | slice) -> ImageArray | list[ImageArray]:
        if isinstance(index, slice):
            return [self._decode(item) for item in self._encoded[index]]
        return self._decode(self._encoded[index])

    def content(self, index: int) -> str:
        """A hash of an image's bytes, as they are encoded."""
        item = self._encoded[index]
        return hashlib.sha256(item.read_bytes() if isinstance(item, Path) else item).hexdigest()

    def _decode(self, item: bytes | Path) -> ImageArray:
        try:
            return decode(item.read_bytes() if isinstance(item, Path) else item, _MAX_PIXELS)
        except Undecodable as error:
            where = item if isinstance(item, Path) else "a render"
            raise ConfigError(f"{where}: {error.reason}; remove it or make it again") from None


@dataclass(frozen=True, repr=False)
class ImageSet:
    """Images under a name, with one text and one label each, or None where these are not known."""

    name: str
    images: Images
    texts: tuple[str, ...] | None
    labels: tuple[str, ...] | None


def release_images(release: Path) -> ImageSet:
    """The images of a finished run, from its folder `release`.

    Renders of captions have no texts here: captions are private and kept nowhere.

    Raises:
        ConfigError: there is no release, or its manifest can't be read or names a file outside of it.
    """
    file = release / "manifest.parquet"
    if not file.is_file():
        raise ConfigError(f"{release}: the run has no release yet; finish it, or give --generation")
    try:
        has_texts = "text" in pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        raise ConfigError(f"{file}: can't be read as Parquet; restore the release") from None
    rows = _rows(file, ["file", "label", *(["text"] if has_texts else [])])
    outside = next((row["file"] for row in rows if not is_inside(release, row["file"])), None)
    if outside is not None:
        raise ConfigError(f"{file}: it names {str(outside)[:80]!r}, which is none of the release's images")
    images = Images([release / row["file"] for row in rows])
    texts = tuple(row["text"] for row in rows) if has_texts else None
    return ImageSet("release", images, texts, _labels([row["label"] for row in rows]))


def voted_generations(generations: Path) -> list[int]:
    """The numbers of the generations whose candidates have been voted on, from a run's folder `generations`."""
    return sorted(int(file.parent.name) for file in generations.glob("[0-9]*/selected.parquet"))


def generation_images(generations: Path, generation: int, *, candidates: bool = False) -> ImageSet:
    """The renders of a generation's survivors, one each: what a release after it would be made of.

    Args:
        generations: The run's folder `generations`.
        generation: The number of the generation.
        candidates: Take all candidates that were voted on instead; those of the first come from RANDOM_API.

    Raises:
        ConfigError: the generation was not voted on, or has no renders.
    """
    folder = generations / f"{generation:02d}"
    if generation not in voted_generations(generations):
        there_are = _shown(voted_generations(generations))
        raise ConfigError(f"{generations}: generation {generation} is not there; there are {there_are}")
    rows = {row["id"]: row for row in _rows(folder / "candidates.parquet", ["id", "text", "label"])}
    ids = list(rows) if candidates else [row["id"] for row in _rows(folder / "selected.parquet", ["id"])]
    renders: dict[str, bytes] = {}
    # A survivor's render was made in the generation that it was born in.
    for earlier in range(generation + 1):
        file = generations / f"{earlier:02d}" / "renders.parquet"
        if file.is_file():
            renders |= {row["candidate_id"]: row["png"] for row in _rows(file, ["candidate_id", "png"])}
    there = [id for id in ids if id in renders]
    if not there:
        raise ConfigError(f"{generations}: generation {generation} has no renders (caption voting makes none)")
    name = f"generation-{generation:02d}{'-candidates' if candidates else ''}"
    images = Images([renders[id] for id in there])
    return ImageSet(name, images, tuple(rows[id]["text"] for id in there), _labels([rows[id]["label"] for id in there]))


def candidate_texts(generations: Path, generation: int) -> list[str]:
    """The texts of a generation's candidates, from a run's folder `generations`.

    Raises:
        ConfigError: they can't be read.
    """
    return [row["text"] for row in _rows(generations / f"{generation:02d}" / "candidates.parquet", ["text"])]


def folder_images(folder: Path) -> ImageSet:
    """All images of a folder.

    Texts and labels come from `metadata.jsonl` (`file_name`, `text`, `label`) if it is there; without it, the names of
    sub-folders are the labels.

    Raises:
        ConfigError: no images in the folder, or broken metadata.
    """
    metadata = folder / "metadata.jsonl"
    if metadata.is_file():
        rows = list(_metadata(metadata))
        paths = [folder / row["file_name"] for row in rows]
        outside = next((path for path in paths if not path.resolve().is_relative_to(folder.resolve())), None)
        missing = outside or next((path for path in paths if not path.is_file()), None)
        if missing:
            raise ConfigError(f"{metadata}: it names {missing}, which is not a file of the folder")
        texts, labels = ([row.get(key) for row in rows] for key in ("text", "label"))
    else:
        paths = image_files(folder)
        texts = [None] * len(paths)
        labels = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in paths]
    if not paths:
        raise ConfigError(f"{folder}: neither a run (no run.yaml) nor a folder with images")
    return ImageSet(folder.resolve().name, Images(paths), _all_or_none(texts), _labels(labels))


def _metadata(file: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{file}: can't be read as text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
                raise ConfigError(f"{file}:{number}: expected a JSON object with file_name")
            yield row


def _rows(file: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        return pq.read_table(file).select(columns).to_pylist()
    except (OSError, KeyError, pa.ArrowException):
        raise ConfigError(f"{file}: can't be read; the run's folder is damaged or incomplete") from None


def _all_or_none(values: Sequence[object]) -> tuple[str, ...] | None:
    """One value per image, or None if any has none."""
    return tuple(str(value) for value in values) if values and all(v is not None for v in values) else None


def _labels(values: Sequence[object]) -> tuple[str, ...] | None:
    """As `_all_or_none`; None also for a run without labels, whose images all have the label `all`."""
    return None if set(values) == {SINGLE_LABEL} else _all_or_none(values)


def _shown(generations: list[int]) -> str:
    return f"0 to {generations[-1]}" if generations else "none yet"
