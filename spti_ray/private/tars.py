# pyright: strict
"""WebDataset: tar files in which consecutive members `KEY.EXTENSION` with the same key are one sample.

Members are read in order and never unpacked to disk; their names are kept nowhere. An archive is read to its end marker
and its last byte, with the check sums of its headers and its compression, since Python's own reader takes a damaged
header for the end. A key that comes back, or an extension that a sample has twice, is an error: members of one record
could end up in another.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from tarfile import HeaderError
from typing import Any, Final

from spti_ray.io.object_storage import StoragePath
from spti_ray.private.damage import Damaged
from spti_ray.private.ids import canonical, json_object

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

TOO_LARGE: Final = None
"""In place of a member that is larger than the limit."""

_OF_THE_ARCHIVE = re.compile(r"__[^/]*__($|/)")
"""Names of members about the archive itself, which WebDataset leaves out too (`skip_meta`)."""

Sample = Mapping[str, bytes | None]
"""From extension (lower case, without its first dot) to the member's bytes, or TOO_LARGE."""

_PACKED: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\0", lzma.LZMAFile),
)
_BLOCK = 512
_CHUNK = 1 << 16
_SUMMED_LIMIT = 8 << 30
"""Sizes below this are in the part of a header that has a check sum; an extended header may only repeat them."""


# Raised for a block of zeros where a header is expected. Python's type stubs lack it.
_EndOfArchive: type[Exception] = vars(tarfile)["EOFHeaderError"]


def _damaged() -> Damaged:
    return Damaged("a tar file is damaged or lacks its end; make it again")


class _Header(tarfile.TarInfo):
    """A member's header. A damaged or incomplete one is an error, and not taken for the archive's end.

    `summed_size` is the size in the part of the header that has a check sum.
    """

    summed_size: int | None = None

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Any:
        try:
            found: Any = super().fromtarfile(tarfile)
        except _EndOfArchive:
            raise
        except HeaderError:
            raise _damaged() from None
        # Called first for the header itself, and then for an extended header before it, which may change its size.
        if found.summed_size is None:
            found.summed_size = found.size
        return found


class _Raw(io.RawIOBase):
    """A PyArrow stream with the interface of Python's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data: bytes = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def archive(file: StoragePath) -> Generator[Any]:
    """Open a tar file, compressed or not, to be read from its beginning by `next_member`.

    Raises:
        Damaged: the archive or its compression is damaged.
        OSError: the file can't be read.
    """
    failed = True
    with file.open_stream() as stream:
        raw = io.BufferedReader(_Raw(stream), _CHUNK)
        head = raw.peek(6)
        plain = next((unpack(raw) for magic, unpack in _PACKED if head.startswith(magic)), raw)
        try:
            with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as tar:
                yield tar
            failed = False
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
            pass
    if failed:  # raised outside of the handler, so that nothing private is attached
        raise _damaged()


def next_member(tar: Any) -> tarfile.TarInfo | None:
    """The next member of an `archive`; None at the end, once the end marker and only zeros after it have been read.

    Raises:
        Damaged: a header or the end marker is damaged or missing, or a header applies to all later members.
    """
    member: _Header | None = tar.next()
    tar.members.clear()  # otherwise every header is kept in memory
    if member is None:
        # One block of zeros has been read. A second one must follow, or a header was overwritten.
        rest, count = tar.fileobj, 0
        while data := rest.read(_CHUNK):
            if data.count(0) != len(data):
                raise _damaged()
            count += len(data)
        if count < _BLOCK:
            raise _damaged()
        return None
    if set(tar.pax_headers) - {"comment"}:
        # A global header applies to all later members: damage to one record could change all records after it.
        raise _damaged()
    if "size" in member.pax_headers and member.size < _SUMMED_LIMIT and member.size != member.summed_size:
        raise _damaged()
    return member


def samples(file: StoragePath, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, Sample]]:
    """The samples of a tar file in order, each with its key.

    As in WebDataset, the key ends at the first dot of the file's name. Hidden files, members in a first folder named
    like `__this__`, and all but regular files are left out. A hash of each key is kept, some bytes per sample.

    Args:
        wanted: whether members with this extension (lower case) are read.
        limit: bytes of the largest member that is read.

    Raises:
        Damaged: a header or the end is damaged or missing, a key comes back after another one, or a sample has two
            members with one extension.
    """
    key: str | None = None
    keys: set[bytes] = set()
    sample: dict[str, bytes | None] = {}
    with archive(file) as tar:
        while (member := next_member(tar)) is not None:
            folder, name = os.path.split(member.name)
            stem, dot, extension = name.partition(".")
            if not member.isfile() or not stem or not dot or _OF_THE_ARCHIVE.match(member.name):
                continue
            if (found := f"{folder}/{stem}") != key:
                if key is not None:
                    yield key.removeprefix("/"), sample
                key, sample = found, {}
                hashed = hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=16).digest()
                if hashed in keys:
                    raise Damaged("a key of a tar file comes back after another one; put its members side by side")
                keys.add(hashed)
            extension = extension.lower()
            if wanted(extension):
                if extension in sample:
                    raise Damaged("a sample of a tar file has two members with one extension; make it again")
                # From a stream a member can only be read now.
                opened = tar.extractfile(member) if member.size <= limit else None
                sample[extension] = TOO_LARGE if opened is None else opened.read()
    if key is not None:
        yield key.removeprefix("/"), sample


def field(sample: Sample, name: str) -> str | None:
    """A sample's label or group, in canonical form: the member with this extension, or else this key of its `json`."""
    member = sample.get(name.lower())
    if member is not None:
        return canonical(member)
    return canonical((json_object(sample.get("json") or b"") or {}).get(name))
