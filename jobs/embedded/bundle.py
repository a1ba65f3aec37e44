"""Put the trained models into the package, in place of those that are there.

    python -m jobs.embedded.bundle --work runs/embedded

All three or none: they are made for one another. Evaluate both first; git keeps every byte of every version.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from jobs.embedded.command import parser
from spti_ray.models.bundled import package_file

MODELS = {"encoder": "sticker-clip", "captioner": "sticker-blip", "denoiser": "sticker-sd"}
"""Stage, and the name of what it makes in the package; the renderer's folder holds the autoencoder too."""

MOST_BYTES = 120_000_000


def bundle(work: Path, package: Path) -> None:
    """Copy `work`/STAGE/model to `package`/NAME, readable by all. SystemExit if one is missing or all are too large."""
    sources = {name: work / stage / "model" for stage, name in MODELS.items()}
    missing = [str(source) for source in sources.values() if not source.is_dir()]
    if missing:
        raise SystemExit(f"not there: {', '.join(missing)}; make it first")
    files = [path for source in sources.values() for path in source.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        raise SystemExit(f"the models have {size:,} bytes; the package may hold {MOST_BYTES:,}")
    for name, source in sources.items():
        shutil.rmtree(package / name, ignore_errors=True)
        # Not copy2: safetensors writes files that only their owner may read.
        shutil.copytree(source, package / name, copy_function=shutil.copyfile)


if __name__ == "__main__":
    bundle(parser(__doc__).parse_args().work, package_file("models"))
