"""Checks of where a run's folder, data and ledger are, for every way in which a run starts.

A Ray job works in an uploaded package, a folder that is deleted with the cluster. A ledger in it would be lost with all
its charges, and private images in it would have been copied into the cluster's control store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from spti_ray.config import Config
from spti_ray.config.loading import ConfigError
from spti_ray.io.files import is_url, needs_no_shared_disk
from spti_ray.io.urls import problem_of_address, problem_of_data, problem_of_ledger, scheme_of
from spti_ray.io.volumes import is_shared, kind_of_volume

_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray for the entry point of a job: JSON with its runtime environment."""

_PACKAGES = ("runtime_resources", "working_dir_files")
"""A node unpacks uploaded working directories into folders under this path."""

_COMPARED = 64
"""How many files of the package are compared with those of `data.path`."""


def check_places(config: Config, out: str | None = None) -> None:
    """Refuse places that no run could use, and URLs with credentials, which must not be written down.

    Args:
        config: the configuration.
        out: the run's folder, if it is known.

    Raises:
        ConfigError: one line that names the setting.
    """
    problems = problem_of_data(config.data.path), problem_of_ledger(config.ledger.path)
    for problem in (*problems, problem_of_address(config.runtime.address or "")):
        if problem:
            raise ConfigError(problem)
    if out is not None and scheme_of(out):
        raise ConfigError(
            f"--out: is a folder on a disk, or on a volume that all nodes share, and no URL ({scheme_of(out)}://); "
            "spti export writes a release into a bucket"
        )


def check_on_ray(config: Config) -> None:
    """Refuse a run that wants no Ray where it would be on a cluster of it. Raises ConfigError."""
    if config.runtime.executor == "local":
        raise ConfigError(
            "runtime.executor: is local, which is for tests and debugging on one machine; this is for a cluster"
        )


def check_shared(config: Config, out: str) -> None:
    """Refuse places that the nodes of a job would not find, or that would be deleted with the job.

    Args:
        config: the configuration.
        out: the run's folder.

    Raises:
        ConfigError: one line that names the setting.
    """
    check_places(config, out)
    check_on_ray(config)
    places = {"--out": out, "data.path": config.data.path, "ledger.path": config.ledger.path}
    if config.origin:
        places["origin.path"] = config.origin.path
    for name, path in places.items():
        # Data and ledger may be in a bucket, and data may come with the package; a run folder must be on a disk.
        anywhere = {"data.path": needs_no_shared_disk, "ledger.path": is_url}.get(name, lambda _: False)
        if not PurePosixPath(path).is_absolute() and not anywhere(path):
            raise ConfigError(
                f"{name} {path} is relative: on the cluster it would be in a folder that goes with the job; "
                f"give an absolute path that all nodes share{'' if name == '--out' else ', or a bucket'}"
            )


def check_may_move(config: Config, out: Path) -> None:
    """Refuse places on a disk of one node for a driver that may start again on another.

    Args:
        config: the configuration.
        out: the run's folder, absolute.

    Raises:
        ConfigError: one line that names the setting.
    """
    check_shared(config, str(out))
    places = {"--out": str(out), "ledger.path": config.ledger.location}
    for name, path in places.items():
        if not needs_no_shared_disk(path) and not is_shared(kind := kind_of_volume(Path(path))):
            raise ConfigError(
                f"{name} {path} is on a disk of one node ({kind}), and runtime.driver lets the driver move to others; "
                "give a volume that all nodes share, or leave runtime.driver's resources and labels out"
            )


def check_here(config: Config, out: Path) -> None:
    """Check the places of a run that is about to start in this process.

    In a Ray job, nothing of the run may be in the uploaded package: neither its folder and ledger, nor private images.

    Args:
        config: the configuration.
        out: the run's folder.

    Raises:
        ConfigError: one line that names the setting.
    """
    check_places(config, str(out))
    package = uploaded_package()
    if package is None and _JOB not in os.environ:
        return
    check_shared(config, str(out))
    if package is None:
        return
    places = {"--out": str(out), "data.path": config.data.path, "ledger.path": config.ledger.location}
    for name, path in places.items():
        if not needs_no_shared_disk(path) and Path(path).resolve().is_relative_to(package):
            raise ConfigError(
                f"{name} {path} is in the working directory that was uploaded with this job, and would go with it; "
                "give an absolute path that all nodes share"
            )
    if not needs_no_shared_disk(config.data.path) and _holds_files_of(package, Path(config.data.path)):
        raise ConfigError(
            "data.path: private images were uploaded with this job's working directory, and are in the cluster's "
            "control store now; leave them out of it (.gitignore, or excludes of the runtime environment), and start "
            "the cluster anew"
        )
    key = config.release.provenance.key_file
    if key is not None and Path(key).resolve().is_relative_to(package):
        raise ConfigError(
            "release.provenance.key_file: the key was uploaded with this job's working directory, and is in the "
            "cluster's control store now; take a new key, and give an absolute path outside of it"
        )
    if any(_private_folders(package)):
        raise ConfigError(
            "the working directory that was uploaded with this job holds the internal folder of a run, which is "
            "private; leave run folders out of it (.gitignore, or excludes of the runtime environment), and start the "
            "cluster anew"
        )


def uploaded_package() -> Path | None:
    """The unpacked working directory that was uploaded with this job; None if there is none."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if folder.parts[-3:-1] == _PACKAGES:
            return folder
    try:
        runtime_env = json.loads(os.environ.get(_JOB, "{}")).get("runtime_env") or {}
        return here if runtime_env.get("working_dir") else None
    except (ValueError, AttributeError):
        return here  # another version of Ray wrote it: to be safe, as if there were one


def _private_folders(package: Path) -> Iterator[Path]:
    """The internal folders of runs in the package."""
    for folder, names, files in os.walk(package):
        if "run.yaml" in files and "internal" in names:
            yield Path(folder, "internal")


def _holds_files_of(package: Path, data: Path) -> bool:
    """Whether the package has a copy of some of the data, at the place that an upload of a parent folder gives them."""
    parts = data.resolve().parts[1:]
    for first in range(len(parts)):
        copy = package.joinpath(*parts[first:])
        if copy.is_file() and data.is_file():
            return copy.stat().st_size == data.stat().st_size
        if copy.is_dir() and any(_same_size(file, data / file.relative_to(copy)) for file in _some_files(copy)):
            return True
    return False


def _some_files(folder: Path) -> Iterator[Path]:
    found = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return islice(found, _COMPARED)


def _same_size(file: Path, other: Path) -> bool:
    try:
        return other.is_file() and file.stat().st_size == other.stat().st_size
    except OSError:
        return False
