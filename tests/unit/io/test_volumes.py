from pathlib import Path
from types import SimpleNamespace

import pytest

from spti_ray.io import volumes
from spti_ray.io.volumes import is_shared, kind_of_volume


def test_a_folder_is_on_the_volume_that_is_mounted_nearest_above_it(monkeypatch, tmp_path):
    mounts = {"/": "overlay", str(tmp_path): "ext4", str(tmp_path / "shared"): "nfs4"}
    known = [SimpleNamespace(mountpoint=folder, fstype=kind) for folder, kind in mounts.items()]
    monkeypatch.setattr(volumes.psutil, "disk_partitions", lambda all: known)
    assert kind_of_volume(tmp_path / "shared" / "runs" / "not-there-yet") == "nfs4"
    assert kind_of_volume(tmp_path / "shared-too") == "ext4"
    assert kind_of_volume(Path("/nowhere")) == "overlay"


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "ceph", "fuse.gcsfuse", "fuse.sshfs"])
def test_network_volumes_are_shared(kind):
    assert is_shared(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "overlay", "tmpfs", "unknown"])
def test_disks_of_a_node_are_not(kind):
    assert not is_shared(kind)
