"""What Croissant says of where the data of a release are, and how they are read: in the release, and in each export.

Croissant (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html) is JSON-LD that loaders and search engines
read. What is made here is a function of the format, the labels and the hashes of files alone, so that `spti verify` can
make it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant 1.0, to the letter: readers warn of any other."""

IMAGEFOLDER = "imagefolder"
"""The format of a release, and of the export that is one."""

_MANIFEST, _FILES = "manifest", "image-files"

_DESCRIBED: Mapping[str, tuple[str, str, str]] = {
    IMAGEFOLDER: ("images/*.png", "image/png", "The images."),
    "classfolders": ("data/*/*.png", "image/png", "The images, each in the folder of its label."),
    "parquet": ("data/*.parquet", "application/x-parquet", "Images, texts and labels."),
    "webdataset": ("*.png", "image/png", "The images in the tar files."),
    "datasets": ("data/*.arrow", "application/vnd.apache.arrow.stream", "What `datasets` saved: load_from_disk(data)."),
}
"""Format of an export: which files hold its images, their media type, and what they are."""


_OF_FILES: Mapping[str, Mapping[str, Any]] = {
    "file": {
        "description": "The name of the image's file.",
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": _FILES}, "extract": {"fileProperty": "filename"}},
    },
    "image": {
        "description": "The image.",
        "dataType": "sc:ImageObject",
        "source": {"fileSet": {"@id": _FILES}, "extract": {"fileProperty": "content"}},
    },
}
"""The fields of files of images. Those in tar files get no others: mlcroissant 1.1 joins them with nothing."""


def described(format: str, labels: Sequence[str], manifest_sha256: str, tars: Mapping[str, str]) -> dict[str, Any]:
    """The properties `distribution` and `recordSet` of a release in a format.

    Args:
        format: A name in `spti export --format`.
        labels: The labels, in the order of their classes; a single one is none.
        manifest_sha256: The hash of `manifest.parquet`.
        tars: Of WebDataset, the hash of each tar file by its path in the export.
    """
    includes, media_type, what = _DESCRIBED[format]
    files: dict[str, Any] = {
        "@type": "cr:FileSet",
        "@id": _FILES,
        "name": _FILES,
        "description": what,
        "encodingFormat": media_type,
        "includes": includes,
    }
    manifest = _file_object("manifest.parquet", "application/x-parquet", manifest_sha256) | {
        "@id": _MANIFEST,
        "name": _MANIFEST,
        "description": "One row per image: file, SHA-256, text, label, seed, and the models with their revisions.",
    }
    archives = [_file_object(path, "application/x-tar", digest) for path, digest in tars.items()]
    if archives:
        files["containedIn"] = [{"@id": archive["@id"]} for archive in archives]
    sets = [_enumeration(labels)] if len(labels) > 1 else []
    by_manifest = _fields_of_manifest(format, has_labels=len(labels) > 1)
    if format == "webdataset":
        sets += [_record_set("images", _OF_FILES), _record_set("texts", by_manifest)]
    else:
        sets.append(_record_set("images", by_manifest))
    return {"distribution": [manifest, *archives, files], "recordSet": sets}


def _file_object(path: str, media_type: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "encodingFormat": media_type,
        "sha256": sha256,
    }


def _enumeration(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "description": "The labels, in the order of their classes.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "labels/name"},
        "field": [{"@type": "cr:Field", "@id": "labels/name", "name": "labels/name", "dataType": "sc:Text"}],
        "data": [{"labels/name": label} for label in labels],
    }


def _record_set(name: str, fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One record per image. `fields`: what each has, by its name, beside that name."""
    named = [
        {"@type": "cr:Field", "@id": f"{name}/{field}", "name": f"{name}/{field}", **said}
        for field, said in fields.items()
    ]
    what = "One record per image."
    key = {"@id": f"{name}/file"}
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": what, "key": key, "field": named}


def _fields_of_manifest(format: str, has_labels: bool) -> dict[str, dict[str, Any]]:
    """The fields of a record: file, image, text and label."""
    of_parquet = format == "parquet"
    table = {"fileSet": {"@id": _FILES}} if of_parquet else {"fileObject": {"@id": _MANIFEST}}

    def column(name: str) -> dict[str, Any]:
        return table | {"extract": {"column": name}}

    # A regular expression that holds of its own result too, as mlcroissant applies it twice where tables are joined.
    file = column("file") | {"transform": {"regex": "(?:images/)?(.*)"}}
    fields: dict[str, dict[str, Any]] = {"file": dict(_OF_FILES["file"]) | {"source": file}}
    image = {"description": "The image.", "dataType": "sc:ImageObject"}
    if of_parquet:
        fields["image"] = image | {"source": column("image") | {"transform": {"jsonPath": "bytes"}}}
    elif format in (IMAGEFOLDER, "classfolders"):
        fields["file"]["references"] = _OF_FILES["file"]["source"]
        fields["image"] = image | {"source": _OF_FILES["image"]["source"]}
    what = "The text that the image, or its first ancestor, was rendered from."
    fields["text"] = {"description": what, "dataType": "sc:Text", "source": column("text")}
    if has_labels:
        fields["label"] = {
            "description": "One of `labels`.",
            "dataType": ["sc:Text", "cr:Label"],
            "source": column("label_name" if of_parquet else "label"),
            "references": {"field": {"@id": "labels/name"}},
        }
    return fields
