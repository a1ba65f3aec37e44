# pyright: strict
"""Files on this machine or in object storage, both opened through PyArrow's file systems.

Local folders are listed here without PyArrow, which fails on names that are not UTF-8 (and repeats them), and can't
distinguish links from files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.fs as _fs_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.io.files import is_url
from spti_ray.io.urls import problem_of_data

# PyArrow ships no types.
arrow: Any = _arrow_untyped
fs: Any = _fs_untyped

_AZURE = ("abfs", "abfss", "az")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a listing says about a file.

    `kind` is `file`, `folder`, `missing` (also a link to nothing) or `other`, such as a pipe; `size` is in bytes.
    For local files: `identity` is the same under all of a file's names; `aliased` says whether it may have several
    (symbolic or hard links); `leaves`, whether it was reached by a link out of the listed folder.
    """

    kind: str
    size: int
    mtime_ns: int
    identity: tuple[int, int] = (0, 0)
    aliased: bool = False
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class StoragePath:
    """The path of a file or folder on this machine or in object storage.

    `filesystem` is PyArrow's, `remote` says whether it is object storage. `listed` is what a listing said about the
    file, if it comes from one. In a local path, bytes that are not UTF-8 are surrogates, as usual in Python.
    """

    filesystem: Any
    path: str
    remote: bool
    listed: FileInfo | None = None

    @property
    def kind(self) -> str:
        """`file`, `folder`, `missing` or `other`. Raises OSError if the store does not answer."""
        return self._info.kind

    def files(self, suffixes: Iterable[str], follow_links: bool = False) -> list[StoragePath]:
        """List the files under a folder, sorted by path; a file lists itself.

        Hidden files and folders (whose names begin with a dot) are left out. A link is listed as the file that it leads
        to, with `FileInfo.leaves`.

        Args:
            suffixes: endings of the files to list, in lower case; a file's own case does not matter.
            follow_links: whether links to folders outside of this one are followed.

        Raises:
            OSError: a folder can't be listed, or the store does not answer.
            LinkError: a link leads to a folder that may not be followed, or round in a circle.
        """
        if self.kind == "file":
            return [self.with_info()]
        ends = tuple(suffixes)
        if not self.remote:
            found = [
                StoragePath(self.filesystem, path, False, facts) for path, facts in _walk(self.path, ends, follow_links)
            ]
        else:
            every = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
            inside = len(self.path.rstrip("/")) + 1
            found = [
                StoragePath(self.filesystem, info.path, True, _info_of(info))
                for info in every
                if info.type == fs.FileType.File
                and info.path.lower().endswith(ends)
                and not any(part.startswith(".") for part in info.path[inside:].split("/"))
            ]
        found.sort(key=lambda file: os.fsencode(file.path))
        return found

    @property
    def _info(self) -> FileInfo:
        """From the listing if there was one; a request for each file would be slow in object storage."""
        return _info_of(self.filesystem.get_file_info(self._argument)) if self.listed is None else self.listed

    @property
    def _argument(self) -> str | bytes:
        """The path as PyArrow takes it, which can't encode surrogates."""
        return self.path if self.remote else os.fsencode(self.path)

    def with_info(self) -> StoragePath:
        """The same path with its current information, which is asked for once. Raises OSError."""
        return self if self.listed is not None else replace(self, listed=self._info)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def version(self) -> str:
        """Size and time of the last change: differs once the file is written again."""
        return f"{self._info.size}:{self._info.mtime_ns}"

    def relative_to(self, folder: StoragePath) -> str:
        """The path within a folder of the same file system, with slashes; the name if `folder` is this very file."""
        if self.path == folder.path:
            return self.name
        return self.path[len(folder.path.rstrip("/")) + 1 :]

    def open_stream(self) -> Any:
        """Open the file to read it from beginning to end, without decompression."""
        return self.filesystem.open_input_stream(self._argument, compression=None)

    def open_mapped(self) -> Any:
        """Open the file to read it from its beginning. A local one is mapped, so skipped parts are never read."""
        return self.open_stream() if self.remote else arrow.memory_map(self._argument)

    def file(self, name: str) -> StoragePath:
        """The path of a file in this folder; `name` may have slashes."""
        return StoragePath(self.filesystem, f"{self.path.rstrip('/')}/{name}", self.remote)

    def create(self) -> Any:
        """Open the file to write it from its beginning; in object storage it exists once it is closed."""
        return self.filesystem.open_output_stream(self._argument, compression=None)

    def is_empty(self) -> bool:
        """Whether nothing is there, or an empty folder. Raises OSError if the store does not answer."""
        if self.kind != "folder":
            return self.kind == "missing"
        if not self.remote:
            return not os.listdir(self.path)
        return not self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))

    @property
    def size(self) -> int:
        """In bytes."""
        return self._info.size

    def open(self) -> Any:
        """Open the file to read it at any offset."""
        return self.filesystem.open_input_file(self._argument)


class LinkError(ValueError):
    """The folder has links that may not be followed; says why, without a name."""


LEAVES = "holds links that lead out of it; set data.follow_links to true to follow them, or put copies in their place"
_CIRCLE = "holds a link to a folder that the link is in; remove it"


def is_within(path: str, folder: str) -> bool:
    """Whether a resolved path is `folder` or lies under it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _walk(root: str, ends: tuple[str, ...], follow: bool) -> Iterator[tuple[str, FileInfo]]:
    """(path, information) of everything but folders that ends so and is not hidden. Raises OSError and LinkError."""
    real = os.path.realpath(root)
    # (folder, identities of the folders that it is in, whether a link led to it or to one of those)
    waiting: list[tuple[str, frozenset[tuple[int, int]], bool]] = [(root, frozenset(), False)]
    while waiting:
        folder, above, linked = waiting.pop()
        itself = _identity(os.stat(folder))
        if itself in above:
            raise LinkError(_CIRCLE)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                is_link = linked or entry.is_symlink()
                if _is_folder(entry):
                    if entry.is_symlink() and not follow and not is_within(os.path.realpath(entry.path), real):
                        raise LinkError(LEAVES)
                    waiting.append((entry.path, above | {itself}, is_link))
                elif entry.name.lower().endswith(ends):
                    yield entry.path, _info_of_entry(entry, is_link, real)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle or into a closed folder counts as a link to nothing


def _info_of_entry(entry: os.DirEntry[str], is_link: bool, real: str) -> FileInfo:
    try:
        found = entry.stat()
    except OSError:
        return FileInfo("missing", 0, 0)
    leaves = is_link and not is_within(os.path.realpath(entry.path), real)
    kind = "file" if stat.S_ISREG(found.st_mode) else "other"
    return FileInfo(kind, found.st_size, found.st_mtime_ns, _identity(found), is_link or found.st_nlink > 1, leaves)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _info_of(info: Any) -> FileInfo:
    """From PyArrow's file information."""
    kinds = {fs.FileType.File: "file", fs.FileType.Directory: "folder", fs.FileType.NotFound: "missing"}
    return FileInfo(kinds.get(info.type, "other"), info.size or 0, info.mtime_ns or 0)


def absolute(path: str) -> str:
    """The absolute local path with all links resolved but a last part that is one: a file's name says its kind."""
    given = Path(path).expanduser()
    if os.path.islink(given):  # unlike `Path.is_symlink`, False where looking is not permitted
        return str(given.parent.resolve() / given.name)
    return str(given.resolve())


def storage_path(path: str) -> StoragePath:
    """The path or URL as a `StoragePath`. Sends no request, except for the region of a bucket in Amazon's S3.

    As for ledgers, the environment's `AWS_ENDPOINT_URL` names another S3 store than Amazon's, and
    `AZURE_STORAGE_ACCOUNT_NAME` the account of a container, with its `AZURE_STORAGE_ACCOUNT_KEY` unless the machine has
    a role.

    Raises:
        ValueError: PyArrow has no file system for this scheme, or the URL has credentials, which are not repeated.
        OSError: the bucket's region can't be found.
    """
    if problem := problem_of_data(path, "the place"):
        raise ValueError(problem)
    if not is_url(path):
        return StoragePath(fs.LocalFileSystem(), absolute(path), remote=False)
    url = urlsplit(path)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if url.scheme == "s3" and endpoint:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        store = fs.S3FileSystem(endpoint_override=endpoint, region=region, allow_delayed_open=True)
        return StoragePath(store, f"{url.netloc}{url.path}".rstrip("/"), remote=True)
    if url.scheme in _AZURE and not any(sign in url.netloc for sign in "@."):
        return StoragePath(_azure(), f"{url.netloc}{url.path}".rstrip("/"), remote=True)
    path = path.rstrip("/")
    if url.scheme == "s3":  # so that a small file takes one request, not three
        path += f"{'&' if url.query else '?'}allow_delayed_open=true"
    filesystem, inside = fs.FileSystem.from_uri(path)
    return StoragePath(filesystem, inside, remote=True)


def _azure() -> Any:
    """The file system of the environment's account, for a URL that names a container and no account."""
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise ValueError(
            "has no account: set AZURE_STORAGE_ACCOUNT_NAME, or give CONTAINER@ACCOUNT.dfs.core.windows.net"
        )
    options: dict[str, str] = {}
    if endpoint := os.environ.get("AZURE_STORAGE_ENDPOINT"):
        server = urlsplit(endpoint)
        for service in ("blob", "dfs"):
            options |= {f"{service}_storage_authority": server.netloc, f"{service}_storage_scheme": server.scheme}
    return fs.AzureFileSystem(account, account_key=os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"), **options)
