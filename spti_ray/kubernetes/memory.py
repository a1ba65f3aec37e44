"""How the memory of a Ray pod is divided: its object store in /dev/shm, its files in /tmp, and the rest for processes.

Both hold private pixels. In memory these never touch a node's disk, and end with the pod.
"""

from __future__ import annotations

from spti_ray.kubernetes.kuberay_rules import Tree

_MIB = 1024 * 1024
_PART_MIB = 256
"""Of each GiB of a pod: for /dev/shm, and as much again for /tmp, where Ray spills what the store does not hold."""

SHARED_MEMORY, SCRATCH, RAY_FILES = "shared-memory", "tmp", "ray-logs"
"""Names of volumes. KubeRay gives the head one by the last name, on the node's disk, for Ray's files, which the
autoscaler reads too; it takes ours where there is one."""

HEAD_SCRATCH = "1Gi"
"""/tmp of the head, where Ray's files have a volume of their own."""


def object_store_bytes(memory_gib: int) -> int:
    """The size of the object store of a pod with so much memory.

    Ray would take 30 % of the pod's memory, which /dev/shm may not have, and then put the store into /tmp. It is told,
    and leaves an eighth of /dev/shm to engines of several processes.
    """
    return memory_gib * _PART_MIB * _MIB * 7 // 8


def volumes_in_memory(memory_gib: int, ray_files_apart: bool) -> tuple[list[Tree], list[Tree]]:
    """(volumes, mounts) of a pod with so much memory. `ray_files_apart`: for a head with the autoscaler beside it."""
    part = memory_gib * _PART_MIB
    size = f"{part // 1024}Gi" if part % 1024 == 0 else f"{part}Mi"
    places = [(SCRATCH, "/tmp", HEAD_SCRATCH if ray_files_apart else size), (SHARED_MEMORY, "/dev/shm", size)]
    if ray_files_apart:
        places.append((RAY_FILES, "/tmp/ray", size))
    volumes = [{"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}} for name, _, limit in places]
    return volumes, [{"name": name, "mountPath": path} for name, path, _ in places]
