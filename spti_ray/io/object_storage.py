# pyright: strict
"""Where files are: on this machine or in object storage, both opened through PyArrow's file systems.

Folders of this machine are listed here: PyArrow fails on names that are no UTF-8 (and says them), and does not tell
links from files.
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
    """What a listing says of a file.

    `kind`: `file`, `folder`, `missing` (also a link to nothing) or `other`, such as a pipe. Of a local file:
    `identity`, the same under all of its names; `aliased`, whether it may have several (links of either sort);
    `leaves`, whether a link leads to it out of the listed folder.
    """

    kind: str
    size: int
    mtime_ns: int
    identity: tuple[int, int] = (0, 0)
    aliased: bool = False
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class StoragePath:
    """A file or folder of a file system. `remote`: in object storage; `listed`: its facts, if it was listed.

    A local path is text as Python has it: bytes that are no UTF-8 are surrogates in it.
    """

    filesystem: Any
    path: str
    remote: bool
    listed: FileInfo | None = None

    @property
    def kind(self) -> str:
        """`file`, `folder`, `missing` or `other`. Raises OSError if the store can't be asked."""
        return self._info.kind

    def files(self, suffixes: Iterable[str], follow_links: bool = False) -> list[StoragePath]:
        """Itself if it is a file; else the files under it that end so (in any case), sorted by path.

        What begins with a dot, or lies in a folder that does, is left out. Links are listed as what they lead to, with
        `FileInfo.leaves`; one to a folder outside is gone into only with `follow_links`.

        Raises:
            OSError: a folder can't be listed, or the store can't be asked.
            LinkError: a link to a folder that may not be followed, or that leads round in a circle.
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
        """Those of the listing that it came from, since a store would be asked file by file."""
        return _info_of(self.filesystem.get_file_info(self._argument)) if self.listed is None else self.listed

    @property
    def _argument(self) -> str | bytes:
        """The path for PyArrow, which can't encode surrogates."""
        return self.path if self.remote else os.fsencode(self.path)

    def with_info(self) -> StoragePath:
        """Itself with the facts of now, asked for once. Raises OSError if the store can't be asked."""
        return self if self.listed is not None else replace(self, listed=self._info)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def version(self) -> str:
        """Changes when the file is written again."""
        return f"{self._info.size}:{self._info.mtime_ns}"

    def relative_to(self, folder: StoragePath) -> str:
        """Its path within a folder of the same file system, with slashes; its name if that is the file itself."""
        if self.path == folder.path:
            return self.name
        return self.path[len(folder.path.rstrip("/")) + 1 :]

    def open_stream(self) -> Any:
        """The file, to be read from its begin to its end, as it is stored."""
        return self.filesystem.open_input_stream(self._argument, compression=None)

    def open_mapped(self) -> Any:
        """The file, to be read from its begin; a local one is mapped, so that what is skipped is never read."""
        return self.open_stream() if self.remote else arrow.memory_map(self._argument)

    def file(self, name: str) -> StoragePath:
        """The place of a file in this folder; its name may have slashes."""
        return StoragePath(self.filesystem, f"{self.path.rstrip('/')}/{name}", self.remote)

    def create(self) -> Any:
        """The file, to be written from its begin; in object storage it is there once it is closed."""
        return self.filesystem.open_output_stream(self._argument, compression=None)

    def is_empty(self) -> bool:
        """Whether nothing is there, or a folder with nothing in it. Raises OSError if the store can't be asked."""
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
        """The file, to be read at any offset."""
        return self.filesystem.open_input_file(self._argument)


class LinkError(ValueError):
    """Links that can't be listed; says why, without a name."""


LEAVES = "holds links that lead out of it; set data.follow_links to true to follow them, or put copies in their place"
_CIRCLE = "holds a link to a folder that the link is in; remove it"


def is_within(path: str, folder: str) -> bool:
    """Whether one resolved path is the other or lies under it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _walk(root: str, ends: tuple[str, ...], follow: bool) -> Iterator[tuple[str, FileInfo]]:
    """(path, facts) of what is no folder, ends so and is not hidden. Raises OSError and LinkError."""
    real = os.path.realpath(root)
    # Of each folder: those that it lies in, itself included, and whether a link led into it or one of them.
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
        return False  # a link in a circle, or to where nobody may look: as one to nothing


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
    """PyArrow's facts."""
    kinds = {fs.FileType.File: "file", fs.FileType.Directory: "folder", fs.FileType.NotFound: "missing"}
    return FileInfo(kinds.get(info.type, "other"), info.size or 0, info.mtime_ns or 0)


def absolute(path: str) -> str:
    """The local path from the root, through no links but the last part, whose name says what a file is."""
    given = Path(path).expanduser()
    if os.path.islink(given):  # as `Path.is_symlink`, but for what may not be looked at
        return str(given.parent.resolve() / given.name)
    return str(given.resolve())


def storage_path(path: str) -> StoragePath:
    """The place of a local path or a URL. Asks nobody but, for Amazon's S3, where a bucket's region is.

    As for ledgers, `AWS_ENDPOINT_URL` names another S3 store than Amazon's, and `AZURE_STORAGE_ACCOUNT_NAME` the
    account of a container, with its `AZURE_STORAGE_ACCOUNT_KEY` unless the machine has a role.

    Raises:
        ValueError: a scheme that PyArrow has no file system for, or a URL with credentials; the line repeats none.
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
    if url.scheme == "s3":  # a small file is one request then, and not three
        path += f"{'&' if url.query else '?'}allow_delayed_open=true"
    filesystem, inside = fs.FileSystem.from_uri(path)
    return StoragePath(filesystem, inside, remote=True)


def _azure() -> Any:
    """The account of the environment, for a URL that has a container and no account."""
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
