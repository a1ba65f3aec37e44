"""Where ledgers are stored: `ledger.path` is a local folder, or the URL of a bucket (`s3://bucket/folder`).

Rule held here: a place that can't keep a ledger is refused.
"""

from __future__ import annotations

from pathlib import Path

from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.file_chain import FileChain
from spti_ray.io.files import is_url
from spti_ray.io.urls import problem_of_ledger

_SUFFIX = ".jsonl"


class NoSuchLedger(LedgerError):
    """There is no ledger at the given place."""


def open_chain(location: str | Path, dataset: str) -> Chain:
    """The chain of `dataset` in a folder or under a URL; it may not exist yet.

    Raises:
        LedgerError: no ledger can be kept at this URL. A URL that lacks a slash is refused too, and not taken for a
            folder of that name.
    """
    if problem := problem_of_ledger(str(location)):
        raise LedgerError(problem)
    if is_url(location):
        from spti_ray.dp.object_chain import ObjectChain

        return ObjectChain.at(str(location), dataset)
    return FileChain(Path(location) / f"{dataset}{_SUFFIX}")


def _begins_as_one(path: Path) -> bool:
    """Whether a file's first byte is that of an entry; what comes then is for the chain to judge."""
    with path.open("rb") as file:
        return file.read(1) in (b"{", b"")


def chains_at(location: str | Path) -> list[Chain]:
    """The chains in a folder or under a URL, or the one chain that a file's path or a dataset's URL names.

    Raises:
        NoSuchLedger: there is none.
        LedgerError: no ledger can be kept there, or the store can't be read.
    """
    if problem := problem_of_ledger(str(location)):
        raise LedgerError(problem)
    chains: list[Chain]
    if is_url(location):
        from spti_ray.dp.object_chain import chains_under

        chains = [*chains_under(str(location))]
    else:
        path = Path(location)
        if path.is_file() and path.suffix != _SUFFIX and not _begins_as_one(path):
            raise NoSuchLedger(
                f"{location}: is a file and no ledger; name a folder of ledgers, a {_SUFFIX} file or a URL"
            )
        files = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path] if path.exists() else []
        chains = [FileChain(file) for file in files]
    if not chains:
        raise NoSuchLedger(f"{location}: no ledger here; name a folder of ledgers, a {_SUFFIX} file or a URL")
    return chains
