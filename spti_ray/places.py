# pyright: strict
"""Where files are: on this machine or in object storage, both through PyArrow's file systems."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as _arrow_untyped  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.fs as _fs_untyped  # pyright: ignore[reportMissingTypeStubs]

from spti_ray.files import is_url

# PyArrow ships no types.
arrow: Any = _arrow_untyped
fs: Any = _fs_untyped

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az")
_AZURE = ("abfs", "abfss", "az")


@dataclass(frozen=True)
class Place:
    """A file or folder of a file system. `remote`: in object storage; `listed`: PyArrow's facts, if it was listed."""

    filesystem: Any
    path: str
    remote: bool
    listed: Any = None

    @property
    def kind(self) -> str:
        """`file`, `folder` or `missing`. Raises OSError if the store can't be asked."""
        found = self._facts.type
        return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(found, "missing")

    def files(self, suffixes: Iterable[str]) -> list[Place]:
        """Itself if it is a file; else the files under it that end so (in any case), sorted by path.

        What begins with a dot or an underscore, or lies in a folder that does, is left out.
        """
        if self.kind == "file":
            return [self]
        ends = tuple(suffixes)
        found = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
        inside = len(self.path.rstrip("/")) + 1
        files = [info for info in found if info.type == fs.FileType.File and info.path.lower().endswith(ends)]
        shown = [
            info for info in files if not any(part.startswith((".", "_")) for part in info.path[inside:].split("/"))
        ]
        shown.sort(key=lambda info: info.path)
        return [Place(self.filesystem, info.path, self.remote, info) for info in shown]

    @property
    def _facts(self) -> Any:
        """Type, size and time: those of the listing that it came from, since a store would be asked file by file."""
        return self.filesystem.get_file_info(self.path) if self.listed is None else self.listed

    def looked_up(self) -> Place:
        """Itself with the facts of now, asked for once. Raises OSError if the store can't be asked."""
        return self if self.listed is not None else replace(self, listed=self._facts)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def version(self) -> str:
        """Changes when the file is written again."""
        return f"{self._facts.size}:{self._facts.mtime_ns}"

    def relative_to(self, folder: Place) -> str:
        """Its path within a folder of the same file system, with slashes."""
        return self.path[len(folder.path.rstrip("/")) + 1 :]

    def open_stream(self) -> Any:
        """The file, to be read from its begin to its end, as it is stored."""
        return self.filesystem.open_input_stream(self.path, compression=None)

    def open_mapped(self) -> Any:
        """The file, to be read from its begin; a local one is mapped, so that what is skipped is never read."""
        return self.open_stream() if self.remote else arrow.memory_map(self.path)

    def file(self, name: str) -> Place:
        """The place of a file in this folder; its name may have slashes."""
        return Place(self.filesystem, f"{self.path.rstrip('/')}/{name}", self.remote)

    def create(self) -> Any:
        """The file, to be written from its begin; in object storage it is there once it is closed."""
        return self.filesystem.open_output_stream(self.path, compression=None)

    def is_empty(self) -> bool:
        """Whether nothing is there, or a folder with nothing in it. Raises OSError if the store can't be asked."""
        if self.kind != "folder":
            return self.kind == "missing"
        return not self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))

    @property
    def size(self) -> int:
        """In bytes."""
        return self._facts.size

    def open(self) -> Any:
        """The file, to be read at any offset."""
        return self.filesystem.open_input_file(self.path)


def place(path: str) -> Place:
    """The place of a local path or a URL. Asks nobody but, for Amazon's S3, where a bucket's region is.

    As for ledgers, `AWS_ENDPOINT_URL` names another S3 store than Amazon's, and `AZURE_STORAGE_ACCOUNT_NAME` the
    account of a container, with its `AZURE_STORAGE_ACCOUNT_KEY` unless the machine has a role.

    Raises:
        ValueError: a scheme that PyArrow has no file system for.
        OSError: the bucket's region can't be found.
    """
    if not is_url(path):
        return Place(fs.LocalFileSystem(), str(Path(path).expanduser().resolve()), remote=False)
    url = urlsplit(path)
    if url.scheme not in SCHEMES:
        raise ValueError(f"is no path or URL: {url.scheme}:// is none of {', '.join(f'{s}://' for s in SCHEMES)}")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if url.scheme == "s3" and endpoint:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        store = fs.S3FileSystem(endpoint_override=endpoint, region=region, allow_delayed_open=True)
        return Place(store, f"{url.netloc}{url.path}".rstrip("/"), remote=True)
    if url.scheme in _AZURE and not any(sign in url.netloc for sign in "@."):
        return Place(_azure(), f"{url.netloc}{url.path}".rstrip("/"), remote=True)
    path = path.rstrip("/")
    if url.scheme == "s3":  # a small file is one request then, and not three
        path += f"{'&' if url.query else '?'}allow_delayed_open=true"
    filesystem, inside = fs.FileSystem.from_uri(path)
    return Place(filesystem, inside, remote=True)


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
