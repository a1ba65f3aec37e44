"""A bucket, as far as a chain needs it. Rule held here: creating an object never replaces one.

Credentials and endpoint come from the environment, as obstore reads them. For S3: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY (or the machine's role), AWS_REGION unless it is us-east-1; for another server also
AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true if that is plain http. Profiles in ~/.aws are not read. A bucket whose object
lock has a default retention also needs AWS_CHECKSUM_ALGORITHM=sha256.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from spti_ray.dp.chain import LedgerError
from spti_ray.io.urls import problem_of_ledger

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError as AlreadyExistsError  # also for the callers of `create`
    from obstore.exceptions import BaseError
    from obstore.store import from_url
except ImportError:
    raise LedgerError("a ledger in a bucket needs another library: pip install 'spti-ray[s3]'") from None

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

FAILURES = (BaseError, OSError, ValueError)
"""What obstore raises. Some messages hold signed URLs and account names: show `reason_of(error)`, never the text."""

_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
"""Retries inside one request, after errors of the server or the network. An attempt is given up after 30 s, 5 of them
to connect: obstore's defaults, because client options that we passed would replace those of the environment."""

_PAGE = 1000  # names per request, the most that S3 gives

_CAUSES = (
    ("BadScheme", "plain http is not allowed: set AWS_ALLOW_HTTP=true if it should be"),
    ("MissingAccount", "no account in the environment: set AZURE_STORAGE_ACCOUNT_NAME"),
    ("Missing(Acc|Sec)\\w+Key|169[.]254[.]169[.]254|metadata[.]google", "no credentials in the environment"),
    ("invalid path", "an object there has a name that is not one of a ledger's"),
    ("[Cc]onnection ?[Rr]efused", "connection refused"),
    ("dns error|failed to lookup", "no such host"),
    ("[Tt]imed ?[Oo]ut", "timed out"),
    ("[Cc]ertificate", "its certificate is not trusted"),
    ("HTTP error", "connection failed"),
)
_STATUS = re.compile(r"status code: (\d{3}[ A-Za-z]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")


def open_store(url: str) -> ObjectStore:
    """The store at `url`, to which all names are relative. Sends no request yet.

    Raises:
        LedgerError: no ledger can be kept at this URL.
    """
    if problem := problem_of_ledger(url):
        raise LedgerError(problem)
    try:
        return from_url(url, retry_config=_RETRY)
    except FAILURES as error:
        raise LedgerError(f"can't open {url}: {reason_of(error)}") from None


def create(store: ObjectStore, name: str, data: bytes) -> str:
    """Create an object, atomically and durably.

    Returns:
        Its version tag.

    Raises:
        AlreadyExistsError: the name is taken; nothing changed.
    """
    made = obstore.put(store, name, data, mode="create", use_multipart=False)
    return _tag(made["e_tag"], len(data))


def get(store: ObjectStore, name: str) -> bytes:
    """The object's content. Raises FileNotFoundError if there is none."""
    return bytes(obstore.get(store, name).bytes())


def version_tags(store: ObjectStore, folder: str) -> dict[str, str]:
    """The objects in `folder` ("" for the top) and below: from full name, in order, to version tag.

    Versions with different content have different tags; equal content may have several.
    """
    pages = obstore.list(store, folder or None, chunk_size=_PAGE)  # pyright: ignore[reportUnknownMemberType]
    found = sorted((meta for page in pages for meta in page), key=lambda meta: meta["path"])
    # Consoles show an empty folder by an object of its name.
    found = [meta for meta in found if meta["size"] or meta["path"].rstrip("/") != folder]
    return {meta["path"]: _tag(meta["e_tag"] or meta["last_modified"].isoformat(), meta["size"]) for meta in found}


def top_level(store: ObjectStore) -> tuple[list[str], list[str]]:
    """(names of the objects, names of the folders) at the top."""
    found = obstore.list_with_delimiter(store)  # pyright: ignore[reportUnknownMemberType]
    return sorted(meta["path"] for meta in found["objects"]), sorted(found["common_prefixes"])


def reason_of(error: BaseException) -> str:
    """What obstore's error means, in a few words that hold no URL, account or key."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status and "169.254.169.254" not in text:
        return f"the store answered {status[1].strip()}" + (f" ({code[1]})" if code else "")
    for pattern, cause in _CAUSES:
        if re.search(pattern, text):
            return cause
    return type(error).__name__


def _tag(version: str | None, size: int) -> str:
    return f"{version} {size}"
