"""What kind of volume a folder is on, so that one which other nodes don't see is not taken for one that they share."""

from __future__ import annotations

from pathlib import Path

import psutil

_SHARED = (
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "virtiofs",
    "wekafs",
)
"""Kinds of file systems that several nodes can have mounted at a time, as Linux names them."""


def kind_of_volume(path: Path) -> str:
    """The file system that `path` is on, or would be: ext4, overlay, nfs4, ...; "unknown" if none is found."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    resolved = path.resolve()
    return next((mounts[folder] for folder in (resolved, *resolved.parents) if folder in mounts), "unknown")


def is_shared(kind: str) -> bool:
    """Whether nodes share volumes of this kind. `fuse.NAME` mostly is a bucket or a network volume."""
    return kind in _SHARED or kind.startswith("fuse")
