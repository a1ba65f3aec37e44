"""What a contamination audit compares: a finished run, its records that voted and others that never did.

All of it is checked as far as can be without reading a record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spti_ray.config import Config, DataConfig
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.config.method_traits import declaration_of, shards_caption
from spti_ray.dp.certificate import certificate
from spti_ray.dp.history import attempts_of
from spti_ray.dp.holdout import fix_holdout
from spti_ray.dp.storage import open_chain
from spti_ray.evaluate import image_sets
from spti_ray.evaluate.image_sets import ImageSet
from spti_ray.methods import PrivateData
from spti_ray.private.holdout import Part
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe
from spti_ray.runs.folder import RunDir
from spti_ray.runs.run_file import read_run

LIMIT = 50_000


@dataclass(frozen=True)
class ContaminationRequest:
    """The options of `spti audit --contamination`. `directory` is a finished run's folder."""

    directory: Path
    holdout: str | None = None
    captions: Path | None = None
    judges: tuple[str, ...] = ()
    render: bool = False
    limit: int = LIMIT
    seed: int = 0
    gpu: bool = False


@dataclass(frozen=True)
class Subject:
    """A run, the records that voted in it (`voted`), those that never did (`held_out`), and its guarantee if any."""

    run: RunDir
    voted: DataConfig
    held_out: DataConfig
    part: Part
    """Of `held_out`: all of other data, or what is held out of the dataset."""
    label_names: tuple[str, ...]
    guarantee: tuple[float, float] | None

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.run.config


def subject_of(request: ContaminationRequest) -> Subject:
    """The run and its records, checked as far as can be without reading one.

    Raises:
        ConfigError, DataError, LedgerError: one line.
    """
    run = _finished_run(request.directory)
    config = run.config
    if declaration_of(config).private_data is PrivateData.NOT_READ:
        raise ConfigError(f"{request.directory}: method {config.method} used no private image; name a run that did")
    labels = config.evolution.label_names
    describe(config.data, config.privacy.unit, labels)
    entries = open_chain(config.ledger.location, config.dataset.id).read().entries
    part: Part = "held out"
    if request.holdout is not None:
        part, held_out = "voting", config.data.model_copy(update={"path": request.holdout, "holdout": 0.0})
        try:
            describe(held_out, config.privacy.unit, labels)
        except DataError as error:
            raise ConfigError(f"--holdout: {str(error).removeprefix('data.path: ')}") from None
    elif config.data.holdout:
        held_out = config.data
        if fix_holdout(entries, config.dataset.id, config.data.holdout, config.unit_in_words):
            raise ConfigError(
                f"{config.ledger.location} does not say what dataset {config.dataset.id} holds out; "
                f"{config.ledger.if_missing}"
            )
    else:
        raise ConfigError(
            f"{request.directory}: all records voted (data.holdout is 0); give records that never did by --holdout "
            "PATH, or set data.holdout before the first run of a dataset"
        )
    run_id = config.certified_run(run.run_id)
    certified = certificate(entries, run_id) if attempts_of(entries, run_id) else None
    guarantee = None if certified is None else (float(certified["epsilon"]), float(certified["delta"]))
    return Subject(run, config.data, held_out, part, labels, guarantee)


def _finished_run(directory: Path) -> RunDir:
    known = read_run(directory)
    run = RunDir(directory, str(known["run"]), parse_config(known["config"]))
    if not run.finished:
        raise ConfigError(f"{directory}: the run is not finished; go on with it by spti run, then audit it")
    return run


def captions_of(request: ContaminationRequest, subject: Subject) -> ImageSet | None:
    """The renders of a run of `method: captions` on the same records; None if none is named.

    Raises:
        ConfigError: the folder holds no such run, or one on other records.
    """
    if request.captions is None:
        return None
    run = _finished_run(request.captions)
    ours, theirs = subject.config, run.config
    if not shards_caption(theirs):
        raise ConfigError(f"--captions {request.captions}: a run of method {theirs.method}; name one of captions")
    if (ours.dataset.id, ours.data, ours.privacy.unit) != (theirs.dataset.id, theirs.data, theirs.privacy.unit):
        raise ConfigError(f"--captions {request.captions}: its dataset, data or privacy.unit are not those of the run")
    return replace(image_sets.release_images(run.release), name="renders of captions")
