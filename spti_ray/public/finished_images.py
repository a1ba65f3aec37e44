"""The last look at the images of a release, before the manifest names their bytes: each says what it is to say.

They were written with it as they were rendered. One that another version of the program wrote, in a run that goes on,
or that an earlier release left, says something else; it is written again, and the pixels stay.

Signing is last. An image is signed once: two signatures differ, so one that was signed before a crash keeps its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spti_ray.io.files import atomic_file, fsync_folder
from spti_ray.provenance.marks import Marks
from spti_ray.provenance.png_chunks import with_xmp, xmp_of

_THREADS = 8
_AT_ONCE = 1024
"""Images that the threads are given at a time."""


def finish_images(folder: Path, files: Sequence[str], marks: Marks) -> list[str]:
    """Let each image say what it is to say, and nothing else, and sign it where it is to be signed.

    Args:
        folder: The files' names are relative to it.
        files: The images.
        marks: What they say, and who signs it.

    Returns:
        The SHA-256 of each file as it is then, in hexadecimal.

    Raises:
        NotPng: one is no PNG.
        SigningFailed: one could not be signed; those that were signed before stay.
        DiskFull: no space left; those that were written before stay.
    """
    hashes: list[str] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(files), _AT_ONCE):
            paths = [folder / file for file in files[start : start + _AT_ONCE]]
            hashes += threads.map(lambda path: _finished(path, marks), paths)
    for parent in {(folder / file).parent for file in files}:
        fsync_folder(parent)
    return hashes


def _finished(path: Path, marks: Marks) -> str:
    png, signer = path.read_bytes(), marks.signer
    finished = png
    if signer is None or xmp_of(png) != marks.packet or not signer.has_signed(png):
        finished = with_xmp(png, marks.packet)
        finished = signer.sign(finished) if signer else finished
    if finished != png:
        with atomic_file(path, path.stat().st_mode & 0o777, sync_folder=False) as file:
            file.write(finished)
    return hashlib.sha256(finished).hexdigest()
