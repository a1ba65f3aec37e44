"""Where ledgers are: `ledger.path` is a local folder, or the URL of a bucket (`s3://bucket/folder`)."""

from __future__ import annotations

from pathlib import Path

from spti_ray.dp.chain import Chain, LedgerError
from spti_ray.dp.file_chain import FileChain
from spti_ray.io.files import is_url
from spti_ray.io.urls import problem_of_ledger

_SUFFIX = ".jsonl"


class NoSuchLedger(LedgerError):
    """There is no ledger where one was asked for."""


def open_chain(location: str | Path, dataset: str) -> Chain:
    """The chain of `dataset` in a folder or under a URL; there may be nothing in it yet.

    LedgerError for a URL that can't keep a ledger, also one that lacks a slash and would be a folder of that name.
    """
    if problem := problem_of_ledger(str(location)):
        raise LedgerError(problem)
    if is_url(location):
        from spti_ray.dp.object_chain import ObjectChain

        return ObjectChain.at(str(location), dataset)
    return FileChain(Path(location) / f"{dataset}{_SUFFIX}")


def chains_at(location: str | Path) -> list[Chain]:
    """The chains in a folder or under a URL, or the one that a file's path or a dataset's URL names.

    NoSuchLedger if there is none.
    """
    if problem := problem_of_ledger(str(location)):
        raise LedgerError(problem)
    chains: list[Chain]
    if is_url(location):
        from spti_ray.dp.object_chain import chains_under

        chains = [*chains_under(str(location))]
    else:
        path = Path(location)
        files = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path] if path.exists() else []
        chains = [FileChain(file) for file in files]
    if not chains:
        raise NoSuchLedger(f"{location}: no ledger here; name a folder of ledgers, a {_SUFFIX} file or a URL")
    return chains
