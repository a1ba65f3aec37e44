"""The ledger's vocabulary: what happened to a registered dataset, one line of JSON per event.

Every field is public. An `Entry` is an event with its place in the chain: `prev` is the previous line's hash (`GENESIS`
for the first), `hash` is the SHA-256 of the line's canonical JSON without `hash` itself. Lines are kept byte for byte
canonical, so that a line that says the same in other bytes counts as altered.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, dataclass, fields
from typing import Any, cast, get_type_hints

GENESIS = hashlib.sha256(b"spti-ray ledger, version 1").hexdigest()
"""`prev` of a chain's first line."""


@dataclass(frozen=True)
class Registered:
    """The dataset's budget, fixed for good: `lifetime_epsilon` at `delta` over all runs; None is no limit."""

    dataset: str
    lifetime_epsilon: float | None
    delta: float


@dataclass(frozen=True)
class Opened:
    """A driver took the run: later appends by earlier attempts are fenced out. Repeats the run's noise plan."""

    run: str
    attempt: int
    host: str
    pid: int
    sigma: float
    votes_per_record: int
    generations: int
    spare_slots: int
    epsilon: float
    delta: float
    config_sha256: str
    noise: str
    private: bool
    unit: str = "record"
    build: str = ""
    """Versions of the code and libraries that this attempt runs."""
    token: str = ""
    """Random: no two drivers ever write the same bytes, not even with one host name and process id (containers)."""
    origin: str = ""
    """The run whose release this one goes on from, if it does."""
    outside: str = ""
    """Engines outside the cluster that are shown private images, a line each."""
    accountant: int = 1
    """Version of the accounting by which this attempt's figures were certified (`accounting.ACCOUNTANT`)."""


@dataclass(frozen=True)
class Reserved:
    """The charge of one query; durable before any vote is cast, never refunded.

    `epsilon_after` is the dataset's lifetime epsilon, this query included, at the registered delta.
    """

    run: str
    generation: int
    attempt: int
    slot: int
    votes_per_record: int
    sigma: float
    candidates_sha256: str
    num_candidates: int
    code_version: str
    epsilon_after: float


@dataclass(frozen=True)
class Burned:
    """A reservation that will never have a histogram. Its charge stays."""

    run: str
    generation: int
    slot: int
    reason: str


@dataclass(frozen=True)
class Committed:
    """The one histogram of a reservation, by the SHA-256 of its artifact."""

    run: str
    generation: int
    slot: int
    artifact_sha256: str


@dataclass(frozen=True)
class Released:
    """Selection may read the histogram from here on."""

    run: str
    generation: int
    slot: int
    artifact_sha256: str


@dataclass(frozen=True)
class Evaluated:
    """Somebody looked at the run with a metric that reads the private set: what was learned is not in any charge."""

    run: str
    metric: str


Event = Registered | Opened | Reserved | Burned | Committed | Released | Evaluated

_KINDS: dict[str, type[Event]] = {
    "REGISTERED": Registered,
    "OPENED": Opened,
    "RESERVED": Reserved,
    "BURNED": Burned,
    "COMMITTED": Committed,
    "RELEASED": Released,
    "EVALUATED": Evaluated,
}
_KIND_OF = {event: kind for kind, event in _KINDS.items()}


@dataclass(frozen=True)
class Entry:
    """One line of a ledger. `time` is UTC in ISO 8601, for people; the order is that of `seq`, from 0."""

    seq: int
    prev: str
    time: str
    event: Event
    hash: str

    @property
    def kind(self) -> str:
        return _KIND_OF[type(self.event)]


def encode(seq: int, prev: str, time: str, event: Event) -> bytes:
    """The line of an event, without its newline."""
    body: dict[str, Any] = {field.name: getattr(event, field.name) for field in fields(event)}
    body |= {"seq": seq, "prev": prev, "time": time, "kind": _KIND_OF[type(event)]}
    return _canonical(body | {"hash": hashlib.sha256(_canonical(body)).hexdigest()})


def decode(line: bytes) -> Entry:
    """The entry of a line (without its newline). ValueError says in a few words what is wrong with it."""
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):  # the latter of one that is nested too deeply
        raise ValueError("is not JSON") from None
    if not isinstance(loaded, dict):
        raise ValueError("is not a ledger entry")
    body = cast(dict[str, Any], loaded)
    claimed = body.pop("hash", None)
    try:
        honest = claimed == hashlib.sha256(_canonical(body)).hexdigest()
        unchanged = line == _canonical(body | {"hash": claimed})
    except ValueError:  # NaN or infinity, which JSON lacks and Python's reader accepts
        honest = unchanged = False
    if not (honest and unchanged):
        raise ValueError("was altered: its hash does not match its content")
    kind, seq, prev, time = (body.pop(key, None) for key in ("kind", "seq", "prev", "time"))
    event_type = _KINDS.get(kind) if isinstance(kind, str) else None
    if event_type is None:
        raise ValueError("is of an unknown kind")
    hints = get_type_hints(event_type)
    # A field that came with a later version has a default, and older lines lack it.
    required = {field.name for field in fields(event_type) if field.default is MISSING}
    complete = required <= set(body) <= set(hints)
    if not (type(seq) is int and isinstance(prev, str) and isinstance(time, str) and complete):
        raise ValueError("lacks fields or has unknown ones")
    for name, value in body.items():
        # JSON has one kind of number: an int may stand for a float, but true may not stand for 1.
        fits = isinstance(value, hints[name]) or (type(value) is int and isinstance(float(value), hints[name]))
        if not fits or (isinstance(value, bool) and hints[name] is not bool):
            raise ValueError(f"has a field {name} of the wrong type")
    return Entry(seq, prev, time, event_type(**body), str(claimed))


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
