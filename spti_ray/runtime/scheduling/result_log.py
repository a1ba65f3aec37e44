"""Results by key in files that are only appended to, by one process, and never changed: what any network volume can do.

A record is a header (mark, key, length, checksum) and the result. A process that is killed leaves at most one record
that is cut off, at the end of its file; the next process begins a file of its own, with a higher number. A record that
is not whole, after a power cut also one in the middle, counts as not there; of two with one key, the later counts.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct("<4s32sQI")
_MARK = b"unit"
_ENDING = ".log"


class ResultLog:
    """The files of one folder, each of one generation.

    Args:
        folder: is made with the first result.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[bytes, tuple[Path, int, int, int]] = {}
        """File, offset, length and checksum of each result, by its key."""
        self._file: BinaryIO | None = None
        self._path = folder
        self._generation = -1
        """Of what is written now: the file, its path, and its generation."""
        self._is_broken = False
        files = sorted(folder.glob(f"*{_ENDING}"), key=lambda file: (_number_of(file), file.name))
        self._next_number = _number_of(files[-1]) + 1 if files else 0
        for file in files:
            self._scan(file)

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> bytes | None:
        """The result with that key, in hexadecimal; None if there is none, or it is damaged."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        path, offset, length, checksum = place
        try:
            with path.open("rb") as file:
                file.seek(offset)
                result = file.read(length)
        except OSError:
            return None
        return result if len(result) == length and zlib.crc32(result) == checksum else None

    def put(self, generation: int, key: str, result: Sequence[bytes | memoryview]) -> None:
        """Append a result, given in parts. Once it returns, a process that is killed has not lost it.

        Raises:
            OSError: it could not be written. Nothing more of this generation will be.
        """
        if self._is_broken and generation == self._generation:
            return
        checksum, length = 0, 0
        for part in result:
            checksum, length = zlib.crc32(part, checksum), length + memoryview(part).nbytes
        name = bytes.fromhex(key)
        try:
            file = self._file_of(generation)
            offset = file.seek(0, os.SEEK_END) + _HEADER.size
            file.write(_HEADER.pack(_MARK, name, length, checksum))
            for part in result:
                file.write(part)
            file.flush()
        except OSError:
            self._is_broken = True
            raise
        self._places[name] = self._path, offset, length, checksum

    def keep_from(self, generation: int) -> None:
        """Delete the results of earlier generations."""
        for file in self._folder.glob(f"*{_ENDING}"):
            if _generation_of(file) < generation:
                file.unlink(missing_ok=True)
        self._places = {key: place for key, place in self._places.items() if _generation_of(place[0]) >= generation}

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # of what could not be written before
                self._file.close()
            self._file = None

    def _file_of(self, generation: int) -> BinaryIO:
        if self._file is None or generation != self._generation:
            self.close()
            self._generation, self._is_broken = generation, False
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path = (
                self._folder / f"{generation:06d}-{self._next_number:06d}-{secrets.token_hex(8)}{_ENDING}"
            )  # a process that has lost the run may still write: it must not be to the same file
            self._next_number += 1
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb")
        return self._file

    def _scan(self, path: Path) -> None:
        """Find the results of a file: its headers are read, and what lies between them is not."""
        try:
            with path.open("rb") as file:
                end, offset = os.fstat(file.fileno()).st_size, 0
                while len(header := file.read(_HEADER.size)) == _HEADER.size:
                    mark, key, length, checksum = _HEADER.unpack(header)
                    offset += _HEADER.size
                    if mark != _MARK or offset + length > end:
                        return
                    self._places[key] = path, offset, length, checksum
                    offset = file.seek(offset + length)
        except OSError:
            return


def _number_of(path: Path) -> int:
    """How many files were begun before it; -1 for one of an earlier version, whose name has no number."""
    parts = path.name.split("-")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else -1


def _generation_of(path: Path) -> int:
    number = path.name.partition("-")[0]
    return int(number) if number.isdigit() else -1
