"""The private images, whose budget they spend, and what protects them."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_serializer, field_validator

from spti_ray.config.endpoints import normal_endpoint
from spti_ray.config.ledger_location import DEFAULT, is_fixed, location_of
from spti_ray.config.section import Section


class DataConfig(Section):
    """Where the private images are.

    Labels of a folder of images, of zip files and of LMDB databases are the first folders in them, but for a folder
    whose `metadata.jsonl` or `metadata.csv` has columns, beside the `file_name` of each image. The columns of
    WebDataset are extensions of a sample's members, or keys of its `json`. A path in a column is looked for beside the
    file that has the column. Columns of DICOM files are attributes of their headers, such as PatientID.
    """

    path: str = Field(
        description="A folder of images or DICOM files; Parquet, WebDataset tar or zip files, LMDB databases: one, or "
        "a folder of them; what `save_to_disk` of `datasets` wrote. Local or s3://, gs://, abfs:// (LMDB: local). "
        "`bundled:stickers` is the sample set."
    )
    format: Literal["folder", "parquet", "datasets", "webdataset", "zip", "lmdb", "dicom"] | None = Field(
        default=None, description="Which files of a folder with several sorts are the records; else its only sort."
    )
    follow_links: bool = Field(
        default=False,
        description="Whether links may lead out of the data's folder, as in the cache of a hub; else they are refused.",
    )
    image_column: str = Field(
        default="image", description="Column of encoded bytes, of paths, or of structs {bytes, path}."
    )
    label_column: str | None = Field(default=None, description="Column with the label; needed with evolution.labels.")
    group_column: str | None = Field(default=None, description="Column that names the group (privacy.unit: group).")
    max_pixels: int = Field(default=64_000_000, ge=1, description="Larger images are refused (decompression bombs).")
    window: tuple[float, float] | None = Field(
        default=None,
        description="Grey samples of more than 8 bits: those that become black and white, such as [-160, 240] for soft "
        "tissue in Hounsfield units or [0, 4095]. A public setting. By default each image's own tags or extremes.",
    )
    frame: int | None = Field(
        default=None,
        ge=1,
        description="Which frame, from 1, of DICOM files with several is the image; without it they cast no vote.",
    )

    holdout: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the units (records, or groups) that is held out: they never vote and are never "
        "captioned, so that `spti audit --contamination` has records to compare with. A hash of each unit alone "
        "decides. It is the same for all runs of a dataset.",
    )

    @field_validator("window")
    @classmethod
    def _from_low_to_high(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] < window[1]:
            raise ValueError("should be [lowest, highest] sample, the first below the second")
        return window


class DatasetConfig(Section):
    """The registered dataset whose lifetime budget this run spends from."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["hands"], description="Given by an administrator."
    )
    lifetime_epsilon: float | None = Field(
        default=None, gt=0, description="Budget of all runs on this dataset together, fixed at its first registration."
    )
    registration: Literal["first_run", "required"] = Field(
        default="first_run",
        description="Who registers it: the first run, or only `spti ledger register`, so that a mistyped id is refused "
        "instead of opening a fresh budget.",
    )


class PrivacyConfig(Section):
    """What is promised about each record or group of the private images, and how their votes are counted."""

    epsilon: float = Field(
        gt=0, allow_inf_nan=True, description="At most 100; `inf`: no noise, and so no privacy (allow_not_private)."
    )
    delta: float = Field(gt=0, lt=0.5, description="From policy, never from the size of the private set.")
    votes_per_record: int = Field(
        default=1, ge=1, le=1000, description="k: distinct candidates that get +1 from a record."
    )
    unit: Literal["record", "group"] = Field(default="record", description="What one vote vector protects.")
    spare_slots: int = Field(
        default=0, ge=0, le=100, description="Extra queries paid for at planning, used when a crash burns a generation."
    )
    allow_not_private: bool = Field(
        default=False,
        description="Needed for `method: captions` and for epsilon inf, which make images for internal use only.",
    )
    trusted_endpoints: tuple[str, ...] = Field(
        default=(),
        description="HTTP endpoints that may be shown private images (their operators see them); the certificate says "
        "so. Engines at any other are refused where they would see private content.",
    )

    @field_validator("trusted_endpoints")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(normal_endpoint(url) for url in urls)

    @field_validator("epsilon", mode="after")
    @classmethod
    def _within_reach(cls, epsilon: float) -> float:
        if epsilon > 100 and not math.isinf(epsilon):
            raise ValueError("should be less than or equal to 100, or inf for no noise at all")
        return epsilon

    @field_serializer("epsilon", when_used="json")
    def _as_text(self, epsilon: float) -> float | str:
        """JSON has no infinity."""
        return "inf" if math.isinf(epsilon) else epsilon


class LedgerConfig(Section):
    """Where the ledger is in which every run on the dataset is charged."""

    path: str = Field(
        default=DEFAULT,
        description="Folder of the ledgers, one <dataset id>.jsonl each, or a URL such as s3://bucket/ledgers. A "
        "relative one is in the folder of the configuration file.",
    )
    relative_to: str | None = Field(
        default=None,
        description="Folder that a relative `path` is in. Filled in when a configuration is read; leave it out.",
    )

    @field_validator("relative_to")
    @classmethod
    def _is_absolute(cls, folder: str | None) -> str | None:
        if folder is not None and not folder.startswith("/"):
            raise ValueError("is no absolute path; leave it out, and ledger.path is in the configuration file's folder")
        return folder

    @property
    def location(self) -> str:
        """Where the ledgers are: an absolute path, or a URL."""
        return location_of(self.path, self.relative_to)

    @property
    def if_missing(self) -> str:
        """What to do about a run whose ledger is not there."""
        if self.relative_to is None and not is_fixed(self.path):
            return "go to the folder in which it was started"
        return "restore it there, or, if it was moved, correct `ledger` in the run.yaml of the run's folder"
