"""One small set of images, written in each format by that format's own writer."""

import importlib.util
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps, UnidentifiedImageError

from tests.dicom_files import dicom

ROWS = [
    ("a", 10, "u1"),
    ("a", 20, "u2"),
    ("b", 30, "u1"),
    ("b", 40, "u3"),
    ("c", 50, "u2"),
    ("c", 60, "u1"),
    ("a", 70, "u3"),
]
"""(label, value of the upper half, group) of each record; sorted by name they are in another order."""  # fmt: skip


def turned(value: int) -> bytes:
    """A 4 x 8 image, the upper half of which has the value, stored lying with its EXIF orientation."""
    upright = Image.new("RGB", (4, 8))
    upright.paste((value, value, value), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def folder(root: Path, rows) -> str:
    for i, (label, image, _) in enumerate(rows):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{i:05d}.png").write_bytes(image)
    return str(root)


def folder_with_columns(root: Path, rows) -> str:
    """As Hugging Face's imagefolder, in folders that have nothing to do with the labels."""
    lines = []
    for i, (label, image, group) in enumerate(rows):
        name = f"{i % 3}/{i:05d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(image)
        lines.append(json.dumps({"file_name": name, "label": label, "user": group}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return str(root)


def dicom_with_columns(root: Path, rows) -> str:
    """As `folder_with_columns`, of DICOM files; what is no image stays so."""
    endings = (".dcm", ".DCM", ".dicom", ".ima")
    lines = []
    for i, (label, image, group) in enumerate(rows):
        try:
            with Image.open(io.BytesIO(image)) as opened:
                image = dicom(np.asarray(ImageOps.exif_transpose(opened)))
        except UnidentifiedImageError:
            pass
        name = f"{i % 3}/{i:05d}{endings[i % 4]}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(image)
        lines.append(json.dumps({"file_name": name, "label": label, "user": group}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return str(root)


def zipped(root: Path, rows) -> str:
    folder(root / "unpacked", rows)
    return shutil.make_archive(str(root / "images"), "zip", root / "unpacked")


def zipped_parts(root: Path, rows) -> str:
    for part in range(2):
        with zipfile.ZipFile(
            root / f"{part}.zip", "w", zipfile.ZIP_STORED if part else zipfile.ZIP_DEFLATED
        ) as archive:
            for i, (label, image, _) in enumerate(rows):
                if i % 2 == part:
                    archive.writestr(f"{label}/{i:05d}.png", image)
    return str(root)


def lmdb(root: Path, rows) -> str:
    """As LSUN: one database per category, in a folder of its name."""
    import lmdb as library

    for name in {label for label, _, _ in rows}:
        (root / name).mkdir(parents=True)
        environment = library.open(str(root / name), map_size=2**28)
        with environment.begin(write=True) as transaction:
            for i, (label, image, _) in enumerate(rows):
                if label == name:
                    transaction.put(f"{i:05d}".encode(), image)
        environment.close()
    return str(root)


def parquet(root: Path, rows) -> str:
    labels, images, groups = zip(*rows, strict=True)
    pq.write_table(pa.table({"image": images, "label": labels, "user": groups}), root / "p.parquet", row_group_size=8)
    return str(root)


def parquet_of_paths(root: Path, rows) -> str:
    folder(root / "images", rows)
    labels, _, groups = zip(*rows, strict=True)
    paths = [f"images/{label}/{i:05d}.png" for i, label in enumerate(labels)]
    pq.write_table(pa.table({"image": paths, "label": labels, "user": groups}), root / "p.parquet")
    return str(root / "p.parquet")


def webdataset(root: Path, rows) -> str:
    for part in range(2):
        with tarfile.open(root / f"{part}.tar", "w") as tar:
            for i, (label, image, group) in enumerate(rows):
                if i % 2 != part:
                    continue
                for ending, content in (("png", image), ("json", json.dumps({"label": label, "user": group}).encode())):
                    member = tarfile.TarInfo(f"{i:05d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return str(root)


def saved(root: Path, rows, num_files: int = 2) -> str:
    """A data set of Hugging Face `datasets`, with classes as numbers, as `save_to_disk` writes it."""
    import datasets

    labels, images, groups = zip(*rows, strict=True)
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=sorted(set(labels))), user=datasets.Value("string")
    )
    columns = {"image": [{"bytes": image, "path": None} for image in images], "label": labels, "user": groups}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features).save_to_disk(root / "saved", num_shards=num_files)
    return str(root / "saved")


WRITERS = {
    "folder": folder,
    "folder with columns": folder_with_columns,
    "zip": zipped,
    "zips": zipped_parts,
    "lmdb": lmdb,
    "parquet": parquet,
    "parquet of paths": parquet_of_paths,
    "webdataset": webdataset,
    "datasets": saved,
}
WITH_COLUMNS = ["folder with columns", "parquet", "parquet of paths", "webdataset", "datasets"]
if importlib.util.find_spec("pydicom") is not None:  # else the tests of DICOM say what is missing
    WRITERS["dicom"] = dicom_with_columns
    WITH_COLUMNS.append("dicom")
