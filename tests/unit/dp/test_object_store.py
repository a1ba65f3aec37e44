"""What a bucket that can't be used is told as: one line, without what is secret in it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from obstore.exceptions import GenericError
from obstore.store import ObjectStore, from_url

from spti_ray.dp import object_store
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Entry, Event
from spti_ray.dp.storage import chains_at, open_chain
from tests.s3 import S3Server
from tests.unit.dp.books import EVENTS, OURS, append_all, chain_of

pytestmark = pytest.mark.usefixtures("hurry")


@pytest.fixture
def down(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    yield "s3://bucket/ledgers"


def test_a_server_that_is_down_is_one_line(down: str):
    for use in (
        open_chain(down, "ds").read,
        lambda: open_chain(down, "ds").append(lambda _: OURS),
        lambda: chains_at(down),
    ):
        with pytest.raises(LedgerError, match=rf"^can't read ledgers? .*{down}.*: connection refused$"):
            use()


def test_a_server_that_goes_down_before_the_append_leaves_the_outcome_open(memory: ObjectStore, down: str):
    append_all(chain := chain_of(memory), EVENTS)

    def decide(entries: Sequence[Entry]) -> Event:
        chain._store = from_url(down, retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
        return OURS

    with pytest.raises(LedgerError, match=r"000000000006\.json: connection refused; whether the entry was recorded is"):
        chain.append(decide)


def _no_bucket(patch: pytest.MonkeyPatch) -> str:
    return "s3://no-such-bucket/ledgers"


def _no_credentials(patch: pytest.MonkeyPatch) -> str:
    patch.delenv("AWS_SECRET_ACCESS_KEY")
    return "s3://bucket/ledgers"


def _plain_http(patch: pytest.MonkeyPatch) -> str:
    patch.delenv("AWS_ALLOW_HTTP")
    return "s3://bucket/ledgers"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (_no_bucket, "the store answered 404 Not Found (NoSuchBucket)"),
        (_no_credentials, "no credentials in the environment"),
        (_plain_http, "plain http is not allowed: set AWS_ALLOW_HTTP=true if it should be"),
    ],
)
def test_what_is_wrong_with_the_access_is_one_line(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, setting: Callable[[pytest.MonkeyPatch], str], told: str
):
    url = setting(monkeypatch)
    with pytest.raises(LedgerError, match=rf": {re.escape(told)}$") as error:
        open_chain(url, "ds").append(lambda _: OURS)
    assert "\n" not in str(error.value) and "test-" not in str(error.value)


def test_other_clouds_are_opened_by_the_same_name(monkeypatch: pytest.MonkeyPatch):
    assert open_chain("gs://bucket/ledgers", "ds").location == "gs://bucket/ledgers/ds"
    with pytest.raises(LedgerError, match="no account in the environment: set AZURE_STORAGE_ACCOUNT_NAME$"):
        open_chain("az://container/ledgers", "ds")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert open_chain("az://container/ledgers", "ds").location == "az://container/ledgers/ds"


def test_refusals_of_a_store_are_told_without_what_else_it_said():
    body = (
        "Generic S3 error: Error performing PUT https://x.blob.net/y?sig=SECRET in 2s - Server returned non-2xx status "
        "code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>SECRET</AWSAccessKeyId></Error>"
        '\n\nDebug source:\n"SECRET"'
    )
    assert object_store.reason_of(GenericError(body)) == "the store answered 403 Forbidden (SignatureDoesNotMatch)"
    assert object_store.reason_of(GenericError("SECRET")) == "GenericError"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://key:SECRET@bucket/x", "ledger.path s3://bucket/x: credentials and options go into the environment"),
        ("s3://bucket/x?token=SECRET", "ledger.path s3://bucket/x: credentials and options go into the environment"),
        ("https://SECRET@bucket.example/x", "must be a folder or a URL like s3://bucket/folder .*not https://bucket"),
        ("abfs://container@account/x", "must be a folder or a URL"),
        ("file:///tmp/x", "must be a folder or a URL"),
        ("s3:///x", "must be a folder or a URL"),
        ("s3:/bucket/x", "must be a folder or a URL"),
    ],
)
def test_other_urls_are_refused_before_anything_is_asked(url: str, told: str):
    for use in (lambda: open_chain(url, "ds"), lambda: chains_at(url)):
        with pytest.raises(LedgerError, match=told) as error:
            use()
        assert "SECRET" not in str(error.value)


def test_a_forked_child_is_told_instead_of_hanging(memory: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    chain = chain_of(memory)
    append_all(chain, EVENTS)
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as the child would see it
    for use in (chain.read, lambda: chain.append(lambda _: OURS)):
        with pytest.raises(LedgerError, match="was opened before this process was forked"):
            use()


def test_a_missing_library_is_one_line_that_says_how_to_get_it():
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from spti_ray.dp.storage import LedgerError, open_chain\n"
        "try: open_chain('s3://bucket/x', 'ds')\n"
        "except LedgerError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "a ledger in a bucket needs another library: pip install 'spti-ray[s3]'\n"
