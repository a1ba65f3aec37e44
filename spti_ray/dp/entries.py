"""Ledger entries: the events of a registered dataset, one line of JSON each. Rule held here: every field is public.

FORMAT: kinds and field names are those of ledgers that exist. A new field needs a default, which older lines get.

An `Entry` is an event with its place in the chain. `prev` is the previous line's hash (`GENESIS` for the first line),
`hash` the SHA-256 of the line's canonical JSON without `hash` itself. A line must be canonical byte for byte: the same
content in other bytes counts as altered.
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
    """The dataset's lifetime budget, fixed for good: `lifetime_epsilon` (None: no limit) at `delta`, over all runs."""

    dataset: str
    lifetime_epsilon: float | None
    delta: float


@dataclass(frozen=True)
class Opened:
    """A driver took the run, which fences out earlier attempts. Repeats the run's noise plan."""

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
    """Random, so that no two drivers write the same bytes, not even containers with one host name and process id."""
    origin: str = ""
    """The run whose release this one continues from; empty if none."""
    outside: str = ""
    """Engines outside the cluster that are sent private images, a line each."""
    accountant: int = 1
    """Version of the accounting that certified this attempt's figures (`accounting.ACCOUNTANT`)."""


@dataclass(frozen=True)
class Reserved:
    """The charge of one query: durable before any vote is cast, and never refunded.

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
    """A reservation's one histogram is on disk; `artifact_sha256` is the hash of its file."""

    run: str
    generation: int
    slot: int
    artifact_sha256: str


@dataclass(frozen=True)
class Released:
    """Selection may read the histogram from now on."""

    run: str
    generation: int
    slot: int
    artifact_sha256: str


@dataclass(frozen=True)
class Evaluated:
    """Somebody saw a figure or images that no charge covers.

    Either a metric that reads the private set, of a run that was opened; or a run that is not private or not certified
    and is never opened; or the private images themselves, for a run that may be opened later (`spti check`). `metric`
    says which metric, what was made, or when they were looked at.
    """

    run: str
    metric: str


@dataclass(frozen=True)
class HeldOut:
    """The share of the dataset's units that no run uses, fixed for good before the first run.

    `unit`: of which units, as `Opened.unit`. Without this entry nothing is held out.
    """

    share: float
    unit: str


Event = Registered | Opened | Reserved | Burned | Committed | Released | Evaluated | HeldOut

_KINDS: dict[str, type[Event]] = {
    "REGISTERED": Registered,
    "OPENED": Opened,
    "RESERVED": Reserved,
    "BURNED": Burned,
    "COMMITTED": Committed,
    "RELEASED": Released,
    "EVALUATED": Evaluated,
    "HELD_OUT": HeldOut,
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
        """The event's name in the ledger, such as RESERVED."""
        return _KIND_OF[type(self.event)]


def encode(seq: int, prev: str, time: str, event: Event) -> bytes:
    """The canonical line of an event, without its newline."""
    body: dict[str, Any] = {field.name: getattr(event, field.name) for field in fields(event)}
    body |= {"seq": seq, "prev": prev, "time": time, "kind": _KIND_OF[type(event)]}
    return _canonical(body | {"hash": hashlib.sha256(_canonical(body)).hexdigest()})


def decode(line: bytes) -> Entry:
    """Parse a line without its newline, and check its hash.

    Raises:
        ValueError: says in a few words what is wrong with the line.
    """
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):  # RecursionError: nested too deeply
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
    # A field of a later version has a default, and older lines lack it.
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
