"""Damage to exactly one record of a data set, for the test of what another record's vote may depend on.

A data set is a list of pieces, each with the number of the record that it belongs to: a record's file, row, cells or
archive members. A format (`layouts`) makes pieces of records and files of pieces.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

INSERTED = [
    *[
        text.encode()
        for text in ('"', '""', "'", "\n", "\r", "\r\n", ",", ",,,", "\0", "\\", "{", "\u2028", "\x1a", ";")
    ],
    b"\x85",
    b"\xff\xfe",
    b'"\n',
    b"[" * 20_000,
]
"""Quotes, line ends and separators, of which some end a line for Unicode alone, what is no UTF-8, and deep nesting."""

VALUES = [
    b"",
    b" ",
    b"x" * 200_000,
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b"9" * 5_000,
    b"NaN",
    b"1e999",
    b'"',
    b'"' * 1_001,
    b"null",
    b"-0.0",
    b"\xff\xfe",
    b"\xe2\x82",
    "e\u0301".encode(),
]


ALONE = ("file", "entry")
"""Kinds of pieces of which no two can have one name."""

COPY = 100
"""Added to the number of a record for its copy."""


@dataclass(frozen=True)
class Piece:
    """`kind`: `file`, `row`, `cell`, `member` or `entry`; `name` is a path, key or column, and a row's is its image."""

    owner: int
    kind: str
    name: str
    content: bytes


Pieces = list[Piece]
Damage = Callable[[random.Random, Pieces, int], Pieces]


def changed(rng: random.Random, content: bytes) -> bytes:
    """The bytes with one place flipped, cut, zeroed or doubled, or with something put in."""
    start = rng.choice([0, rng.randrange(len(content) + 1)])
    end = min(len(content), start + rng.choice([1, 1, 2, 8, 512, 1024, len(content)]))
    part = content[start:end]
    how = rng.choice(["flip", "flip", "cut", "zero", "double", "insert"])
    if how == "flip":
        part = bytes([part[0] ^ (1 << rng.randrange(8))]) + part[1:] if part else b"\1"
    elif how == "cut":
        part = b""
    elif how == "zero":
        part = bytes(len(part))
    elif how == "double":
        part = part * 2
    else:
        part = rng.choice(INSERTED) + part
    return content[:start] + part + content[end:]


def bytes_of_a_piece(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    return _one(rng, pieces, victim, lambda piece: [replace(piece, content=changed(rng, piece.content))])


def another_value(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    return _one(rng, pieces, victim, lambda piece: [replace(piece, content=rng.choice(VALUES))])


def a_piece_is_lost(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    return _one(rng, pieces, victim, lambda _: [])


def all_is_lost(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    return without(pieces, victim)


def repeated(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    """A piece twice, side by side or far from one another, under its name; files and keys under a new one."""
    mine = [piece for piece in pieces if piece.owner == victim]
    if mine[0].kind == "cell":
        return [*pieces, *(replace(piece, owner=victim + COPY) for piece in mine)]

    def twice(piece: Piece) -> Pieces:
        name = f"{piece.name.removesuffix('.png')}-copy.png" if piece.kind in ALONE else piece.name
        return [piece, replace(piece, name=name)]

    found = _one(rng, pieces, victim, twice)
    return moved(rng, found, victim) if rng.random() < 0.5 else found


def renamed(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    """A piece under a new name, or under that of another record's piece where two can have one name."""

    def other(piece: Piece) -> Pieces:
        ending = piece.name.rpartition(".")[2]
        names = [p.name for p in pieces if (p.kind, p.name.rpartition(".")[2]) == (piece.kind, ending)]
        new = f"{piece.name.rpartition('/')[0]}/new.{ending}".lstrip("/")
        new = new if piece.kind in ALONE or rng.random() < 0.3 else rng.choice(names)
        content = piece.content.replace(piece.name.encode(), new.encode()) if piece.kind == "row" else piece.content
        return [replace(piece, name=new, content=content)]

    return _one(rng, pieces, victim, other)


def moved(rng: random.Random, pieces: Pieces, victim: int) -> Pieces:
    """A piece, or all of the record's, at another place."""
    mine = [piece for piece in pieces if piece.owner == victim]
    some = mine if rng.random() < 0.5 else [rng.choice(mine)]
    rest = [piece for piece in pieces if not any(piece is one for one in some)]
    at = rng.randrange(len(rest) + 1)
    return [*rest[:at], *some, *rest[at:]]


DAMAGES: dict[str, Damage] = {
    function.__name__: function
    for function in (bytes_of_a_piece, another_value, a_piece_is_lost, all_is_lost, repeated, renamed, moved)
}


def without(pieces: Pieces, victim: int) -> Pieces:
    return [piece for piece in pieces if piece.owner != victim]


def _one(rng: random.Random, pieces: Pieces, victim: int, change: Callable[[Piece], Pieces]) -> Pieces:
    chosen = rng.choice([piece for piece in pieces if piece.owner == victim])

    def parts() -> Iterator[Piece]:
        for piece in pieces:
            yield from change(piece) if piece is chosen else [piece]

    return list(parts())
