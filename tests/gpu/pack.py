"""Packs what `make test-gpu` needs into one archive, for a machine with a GPU that has no checkout.

    python tests/gpu/pack.py gpu-tests.tar.gz
    tar xf gpu-tests.tar.gz && pip install -r tests/gpu/requirements.txt && make test-gpu

The captioner's model is left out, for size: `--models sticker-blip sticker-clip` packs it in place of the renderer's.
"""

from __future__ import annotations

import argparse
import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE_DATA = "spti_ray/package_data"
MODELS = ("sticker-sd", "sticker-clip")
LARGEST = 60_000_000
"""Bytes of an archive: what is lent by the hour often takes no more at a time."""

NOT_PACKED = (f"{PACKAGE_DATA}/data", f"{PACKAGE_DATA}/models")
BESIDE = (
    "Makefile",
    "tests/gpu",
    "tests/statistical/neighbours.py",
    "tests/tiny_models.py",
    "tests/tiny_pipelines.py",
)
"""Of the checkout, beside the package."""


def files(models: tuple[str, ...]) -> Iterator[str]:
    """Paths below the checkout, sorted: the package without its data and models, the models named, the tests."""
    for top in ("spti_ray", *(f"{PACKAGE_DATA}/models/{model}" for model in models), *BESIDE):
        found = [ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*"))
        for path in found:
            name = path.relative_to(ROOT).as_posix()
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            if top == "spti_ray" and any(f"{name}/".startswith(f"{left_out}/") for left_out in NOT_PACKED):
                continue
            yield name


def pack(out: Path, models: tuple[str, ...] = MODELS) -> int:
    """Write the archive; returns its size in bytes.

    Raises:
        ValueError: there is no such model, or the archive would be larger than LARGEST.
    """
    for model in models:
        if not (ROOT / PACKAGE_DATA / "models" / model).is_dir():
            raise ValueError(f"--models {model}: there is no such bundled model")
    # One archive for one checkout: nothing of the time, the owner or the machine is in it.
    with (
        out.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in files(models):
            archive.add(ROOT / name, name, recursive=False, filter=_plain)
    size = out.stat().st_size
    if size > LARGEST:
        out.unlink()
        raise ValueError(f"--models {' '.join(models)}: {size / 1e6:.1f} MB, over {LARGEST / 1e6:.0f} MB; name fewer")
    return size


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    given = parser.parse_args()
    try:
        print(f"{given.out}: {pack(given.out, tuple(given.models)) / 1e6:.1f} MB")
    except ValueError as error:
        parser.error(str(error))
