"""`spti export`: writes a release into a new folder or bucket, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj

from spti_ray.io.files import atomic_folder, is_url
from spti_ray.io.object_storage import StoragePath, storage_path
from spti_ray.io.urls import problem_of_data
from spti_ray.public.release import CERTIFICATE
from spti_ray.release.export.formats import WRITERS, add_documents
from spti_ray.release.export.released import CARD, NotExported, Released, read_release
from spti_ray.runs.output_places import check_folder
from spti_ray.runs.run_file import read_run
from spti_ray.step_progress import Told, untold

_UPLOADS = 8
_BUFFER = 8 * 2**20


class NotPushed(RuntimeError):
    """An upload failed before it was complete; one line says what to do. The bucket has no certificate."""


def export_release(
    directory: Path, format: str, out: str, bucket: str | None = None, told: Told = untold
) -> Iterator[str]:
    """Write a release in another format. An export to a URL is made in a temporary folder first.

    Args:
        directory: The folder of the release, or of its run.
        format: A name in `WRITERS`.
        out: A new folder, or a URL of one.
        bucket: A URL that the export is copied to as well.
        told: Is told how far it is.

    Yields:
        One line for people for each place that is done.

    Raises:
        NotExported: no release, a place that is not empty or can't be asked, a library that is missing.
        ConfigError: `out` can't be written, or is in the folder of a run.
        NotPushed: an upload failed; what was written to a local `out` stays there.
        DiskFull: no space left; nothing is there.
    """
    released = read_release(directory)
    for option, where in (("--out", out), ("--bucket", bucket)):
        if problem := problem_of_data(where or "", option):
            raise NotExported(problem)
    urls = [url for url in (out, bucket) if url is not None and is_url(url)]
    if bucket is not None and not is_url(bucket):
        raise NotExported(f"--bucket {bucket}: give a URL like s3://bucket/folder; a folder is --out")
    targets = [_empty(url) for url in urls]
    if not out.strip():
        raise NotExported("--out: is empty; give a new folder, or the URL of one")
    with _local(out, released) as folder:
        WRITERS[format](released, folder, told)
        add_documents(released, folder, format)
        if is_url(out):
            yield from _push(folder, released, targets, urls, told)
    if not is_url(out):
        yield _summary(released, out)
        yield from _push(Path(out), released, targets, urls, told)


@contextmanager
def _local(out: str, released: Released) -> Iterator[Path]:
    """The folder to write into: it becomes `out` at the end, or is temporary for a URL."""
    if is_url(out):
        with tempfile.TemporaryDirectory(prefix="spti-export-") as temporary:
            folder = Path(temporary, "export")
            folder.mkdir()
            yield folder
        return
    path = Path(out).expanduser().resolve()
    if path.is_relative_to(released.folder):
        raise NotExported(f"--out {out}: in the release itself, which an export would alter; give another folder")
    if (private := _private_folder(released)) and path.is_relative_to(private):
        raise NotExported(f"--out {out}: in the folder of the private images, which would then hold it; give another")
    check_folder("--out", path, of_run=True)  # of itself, what comes next says more
    if path.is_dir() and any(path.iterdir()):
        raise NotExported(f"--out {out}: the folder is not empty; give a new one, or remove what is there")
    with atomic_folder(path) as folder:
        yield folder


def _private_folder(released: Released) -> Path | None:
    """The folder of the private images, where the release is in its run's folder and they are in a local one."""
    run = released.folder.parent
    if not (run / "run.yaml").is_file():
        return None
    data = str(read_run(run)["config"]["data"]["path"])
    return Path(data).expanduser().resolve() if not is_url(data) and Path(data).is_dir() else None


def _empty(url: str) -> StoragePath:
    """The place that a URL names. Raises NotExported unless it can be reached and is empty."""
    try:
        target = storage_path(url)
        is_empty = target.is_empty()
    except ValueError as error:
        raise NotExported(f"{url} {error}") from None
    except Exception as error:  # noqa: BLE001 PyArrow's texts may quote requests
        raise NotExported(
            f"{url} can't be reached ({type(error).__name__}); check it and the credentials in the environment"
        ) from None
    if not is_empty:
        raise NotExported(f"{url}: something is there; give a new folder, or remove it")
    return target


def _push(folder: Path, released: Released, targets: list[StoragePath], urls: list[str], told: Told) -> Iterator[str]:
    """Copy the export to each place; the last document, which is the certificate if there is one, after all others."""
    last = folder / list(released.documents)[-1]
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != last)
    for target, url in zip(targets, urls, strict=True):
        try:
            with ThreadPoolExecutor(_UPLOADS) as threads:
                uploads = threads.map(lambda file, target=target: _upload(file, folder, target), files)
                for number, _ in enumerate(uploads, 1):
                    told(f"uploading to {url}", number, len(files) + 1)
            _upload(last, folder, target)
        except Exception as error:  # noqa: BLE001 as above
            raise NotPushed(
                f"{url}: not all of it was taken ({type(error).__name__}), {last.name} is not there; check that the "
                "bucket is there and may be written, remove what was, and export again"
            ) from None
        yield _summary(released, url)


def _upload(file: Path, folder: Path, target: StoragePath) -> None:
    with file.open("rb") as source, target.file(file.relative_to(folder).as_posix()).create() as sink:
        copyfileobj(source, sink, _BUFFER)


def _summary(released: Released, where: str) -> str:
    certificate = "with its certificate" if CERTIFICATE in released.documents else f"WITHOUT certificate, see {CARD}"
    return f"{where}: {released.table.num_rows} images, {certificate}"
