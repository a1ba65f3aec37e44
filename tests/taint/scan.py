"""Looks for planted private content in everything that a run leaves, however it may be encoded there.

Every canary begins with CORE, lower-case letters and digits: percent-encoding, JSON and Python escapes leave these as
they are, so that only encodings that change ASCII have to be looked for by themselves.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CORE = "zq7canary"
_SHOWN = 60
_PARQUET, _ARROW, _PNG, _ZIP, _GZIP = b"PAR1", b"ARROW1", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b"


def _patterns(text: str) -> tuple[dict[str, re.Pattern[bytes]], dict[str, re.Pattern[bytes]]]:
    """Shapes to look for in lower-cased bytes, and in bytes as they are. Each begins with a literal: that is fast."""
    raw = text.encode()
    hexes = [b"%02x" % byte for byte in raw]
    lower = {
        "plain": re.escape(raw),
        "reversed": re.escape(raw[::-1]),
        "UTF-16 or UTF-32": rb"\x00{1,3}".join(re.escape(raw[i : i + 1]) for i in range(len(raw))),
        "hexadecimal": b"".join(hexes),
        "percent, \\x, \\u or spaced hexadecimal": rb"[^0-9a-z]{1,4}(?:0?x|u00)?".join(hexes),
        # As NumPy or Python print a list of bytes or pixels.
        "decimal": rb"[^0-9a-z]{1,12}".join(str(byte).encode() for byte in raw) + rb"\b",
        "octal escapes": rb"\\\\?".join(b"%03o" % byte for byte in raw),
    }
    exact: dict[str, bytes] = {}
    for shift in range(3):
        # Characters at the edges depend on what stands beside the text, so they are left out.
        encoded = base64.b64encode(b"\0" * shift + raw)
        first = -(-shift * 4 // 3)
        last = len(encoded.rstrip(b"=")) - (1 if (shift + len(raw)) % 3 else 0)
        exact[f"base64 at {shift}"] = re.escape(encoded[first:last])
    return tuple({name: re.compile(shape) for name, shape in shapes.items()} for shapes in (lower, exact))


_LOWER, _EXACT = _patterns(CORE)


def find_in_bytes(data: bytes) -> list[str]:
    """How the canary is in `data`, with what stands around it; empty if it is not. Looks into known containers."""
    found: list[str] = []
    for part, content in _contents(data):
        for patterns, text in ((_LOWER, content.lower()), (_EXACT, content)):
            for encoding, pattern in patterns.items():
                hit = pattern.search(text)
                if hit is not None:
                    around = content[max(0, hit.start() - _SHOWN) : hit.end() + _SHOWN]
                    found.append(f"{part}{encoding}: {around!r}")
    return found


def find_in_files(roots: Iterable[Path]) -> list[str]:
    """`path: how` for each canary in the names, link targets and contents of all files under the folders `roots`."""
    found: list[str] = []
    for path in (path for root in roots for path in [root, *sorted(root.rglob("*"))]):
        found += [f"{path}: in its name" for _ in find_in_bytes(path.name.encode(errors="surrogateescape"))]
        if path.is_symlink():
            found += [f"{path}: link to {how}" for how in find_in_bytes(str(path.readlink()).encode())]
        elif path.is_file():
            found += [f"{path}: {how}" for how in find_in_bytes(path.read_bytes())]
    return found


def _contents(data: bytes, part: str = "") -> Iterator[tuple[str, bytes]]:
    """(where in the file, bytes): the data as they are, and unpacked if they are a container that packs them."""
    yield part, data
    if data.startswith(_PARQUET):
        yield from _table(pq.read_table(io.BytesIO(data)), part)
    elif data.startswith(_ARROW):
        yield from _table(pa.ipc.open_file(io.BytesIO(data)).read_all(), part)
    elif data.startswith(_PNG):
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            yield f"{part}PNG metadata, ", repr(sorted(image.info.items())).encode()
            yield f"{part}PNG pixels, ", image.tobytes()
    elif data.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from _contents(archive.read(name), f"{part}{name}, ")
    elif data.startswith(_GZIP):
        try:
            yield from _contents(gzip.decompress(data), f"{part}gzip, ")
        except (OSError, EOFError, zlib.error):
            return


def _table(table: pa.Table, part: str) -> Iterator[tuple[str, bytes]]:
    yield f"{part}metadata, ", repr(table.schema.metadata).encode()
    for name in table.column_names:
        for value in table.column(name).to_pylist():
            if isinstance(value, bytes):
                yield from _contents(value, f"{part}{name}, ")
            else:
                yield f"{part}{name}, ", repr(value).encode()


def pickles(roots: Iterable[Path]) -> list[Path]:
    """Files under the folders that are pickles, or archives that hold one, by their content."""
    return [path for root in roots for path in sorted(root.rglob("*")) if path.is_file() and _is_pickle(path)]


def _is_pickle(path: Path) -> bool:
    data = path.read_bytes()
    if data.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                head = archive.read(name)
                # An object array of NumPy is a pickle behind NumPy's header.
                is_object = head[:6] == b"\x93NUMPY" and b"'|O'" in head[:128]
                if name.endswith((".pkl", ".pickle")) or is_object or _pickle_header(head):
                    return True
    return path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".joblib"} or _pickle_header(data)


def _pickle_header(data: bytes) -> bool:
    # Protocol 2 and later begin with PROTO; 0 and 1 have no header, but end with STOP after a mark or a memo.
    return data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data[-1:] == b"."
