# pyright: strict
"""Records that are files: in a folder, in zip and tar files, in LMDB databases. A shard reads its own, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from spti_ray.io.files import IMAGE_SUFFIXES
from spti_ray.private import dicom_header, lmdbs, metadata, zips
from spti_ray.private.dicom import decode_dicom
from spti_ray.private.encoded import FILE_TOO_LARGE, MISSING_IMAGE, max_file_bytes
from spti_ray.private.ids import label_by_id
from spti_ray.private.names import file_key, first_folder
from spti_ray.private.record import Decoder, Record, decode_image
from spti_ray.private.shard_reading import RECORDS_PER_FILE, ShardReading, in_files
from spti_ray.private.tars import Sample, field, samples


def read_dicom(shard: ShardReading) -> Iterator[Record]:
    """As `read_folder`, of DICOM files."""
    return read_folder(shard, dicom_header.keywords(), decode_dicom)


def read_folder(
    shard: ShardReading, in_header: Collection[str] = (), decoder: Decoder = decode_image
) -> Iterator[Record]:
    """Yield the records of a folder.

    Args:
        shard: what is read.
        in_header: names of columns that are in the head of each image, and not in a file of columns.
        decoder: of the images.
    """
    wanted = shard.rows(len(shard.files))
    label_column, group_column = columns = shard.label_column, shard.group_column
    heads = [column for column in columns if column in in_header and column is not None]
    in_table = [None if column in heads else column for column in columns]
    table = metadata.find(shard.root) if any(in_table) else None
    keys = {file_key(shard.files[index].relative_to(shard.root)) for index in wanted} if table else set[str]()
    cells = metadata.cells(table, keys, *in_table) if table else {}
    limit = max_file_bytes(shard.data.max_pixels)
    for index in wanted:
        file = shard.files[index]
        relative = file.relative_to(shard.root)
        label, group = cells.get(file_key(relative), (None, None))
        head = dicom_header.attributes(file, heads, limit) if heads else {}
        label, group = head.get(label_column or "", label), head.get(group_column or "", group)
        if shard.group_is_elsewhere(group):
            continue
        if label_column is None or (table is None and label_column not in heads):
            label = first_folder(relative)
        yield shard.record(index, label, group, file, relative, decoder)


def read_zips(shard: ShardReading) -> Iterator[Record]:
    """Yield the records of zip files. They have no groups."""
    counts = [zips.num_images(file, IMAGE_SUFFIXES) for file in shard.files]
    limit = max_file_bytes(shard.data.max_pixels)
    known = label_by_id(shard.label_names)
    for number, start, here in in_files(counts, shard.rows(sum(counts))):
        outer = shard.files[number].relative_to(shard.root)
        for position, member, encoded in zips.images(shard.files[number], IMAGE_SUFFIXES, here, limit):
            labels = zips.labels_of(member, outer)
            label = next((label for label in labels if label in known), labels[0])
            yield shard.record(start + position, label, None, encoded, f"{outer}: {member.filename}")


def read_lmdbs(shard: ShardReading) -> Iterator[Record]:
    """Yield the records of LMDB databases. They have no groups."""
    counts = [lmdbs.num_values(file) for file in shard.files]
    limit = max_file_bytes(shard.data.max_pixels)
    for number, start, here in in_files(counts, shard.rows(sum(counts))):
        relative = shard.files[number].relative_to(shard.root)
        label = first_folder(relative)
        for position, encoded in lmdbs.values(shard.files[number], here, limit):
            yield shard.record(start + position, label, None, encoded, f"{relative}: value {position}")


def read_tars(shard: ShardReading) -> Iterator[Record]:
    """Yield the records of tar files in the layout of WebDataset."""
    label_column, group_column = shard.label_column, shard.group_column
    others = {name.lower() for name in shard.columns}
    if label_column or group_column:
        others.add("json")

    def wanted(extension: str) -> bool:
        return extension in others or f".{extension}" in IMAGE_SUFFIXES

    limit = max_file_bytes(shard.data.max_pixels)
    for number, file in enumerate(shard.files):
        # Whole files: how many samples a file has is known only after reading it. A group may be in any of them.
        if shard.is_elsewhere(number):
            continue
        outer = file.relative_to(shard.root)
        for position, (key, sample) in enumerate(samples(file, wanted, limit)):
            group = field(sample, group_column) if group_column else None
            if shard.group_is_elsewhere(group):
                continue
            label = field(sample, label_column) if label_column else None
            image = _image_of(sample, shard.data.image_column.lower())
            yield shard.record(number * RECORDS_PER_FILE + position, label, group, image, f"{outer}: {key}")


def _image_of(sample: Sample, named: str) -> bytes | str:
    """The member that is `named`, or else the first that is an image; or the problem with it."""
    images = [name for name in sample if f".{name}" in IMAGE_SUFFIXES]
    chosen = named if named in sample else images[0] if images else None
    if chosen is None:
        return MISSING_IMAGE
    found = sample[chosen]
    return FILE_TOO_LARGE if found is None else found
