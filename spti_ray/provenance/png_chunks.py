"""Reads and replaces what a PNG says of itself, chunk by chunk: all others stay byte for byte, the pixels too.

Pillow writes such chunks only with the pixels encoded anew. The format: PNG specification, third edition (W3C, 2025),
sections 5.2 and 11.3.3.4; where XMP is in it: XMP specification, part 3 (Adobe, 2020), 1.1.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
"""Keyword of the chunk `iTXt` that holds XMP; not compressed, of no language, without a translated keyword."""
_KEYWORD = _XMP.partition(b"\0")[0] + b"\0"

MANIFEST_STORE = b"caBX"
"""The chunk of a C2PA manifest store, which a change of any other chunk makes invalid."""


class NotPng(ValueError):
    """The bytes are no whole PNG."""


def with_xmp(png: bytes | memoryview, packet: str | None) -> bytes:
    """The PNG with `packet` as its XMP, in place of what XMP and C2PA manifests it has.

    Args:
        png: a PNG.
        packet: the XMP; None for none.

    Returns:
        The PNG; the same bytes for the same arguments. One that is so already is returned unchanged.

    Raises:
        NotPng: it can't be read as one.
    """
    kept: list[bytes | memoryview] = [_SIGNATURE]
    for kind, data, whole in _chunks(png):
        if not (kind == MANIFEST_STORE or _is_xmp(kind, data)):
            kept.append(whole)
        if kind == b"IHDR" and packet is not None:
            kept.append(_chunk(b"iTXt", _XMP + packet.encode()))
    return b"".join(kept)


def xmp_of(png: bytes | memoryview) -> str | None:
    """The XMP of a PNG as it is written; None if it has none, or several.

    Raises:
        NotPng: it can't be read as one.
    """
    found = [bytes(data) for kind, data, _ in _chunks(png) if _is_xmp(kind, data)]
    if len(found) != 1 or not found[0].startswith(_XMP):
        return None
    return found[0][len(_XMP) :].decode(errors="replace")


def has_manifest_store(png: bytes | memoryview) -> bool:
    """Whether a PNG has a C2PA manifest store, valid or not. Raises NotPng."""
    return any(kind == MANIFEST_STORE for kind, _, _ in _chunks(png))


def _is_xmp(kind: bytes, data: memoryview) -> bool:
    return kind == b"iTXt" and bytes(data[: len(_KEYWORD)]) == _KEYWORD


def _chunks(png: bytes | memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Kind, data and whole of each chunk, up to the end."""
    view = memoryview(png)
    if bytes(view[:8]) != _SIGNATURE:
        raise NotPng("not a PNG")
    start = len(_SIGNATURE)
    while start + 8 <= len(view):
        (length,), kind = struct.unpack(">I", view[start : start + 4]), bytes(view[start + 4 : start + 8])
        end = start + 12 + length
        if end > len(view):
            break
        yield kind, view[start + 8 : end - 4], view[start:end]
        if kind == b"IEND":
            return
        start = end
    raise NotPng("a PNG that is cut short")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
