"""What a chain needs of a bucket: create an object that isn't there, get one, list; and what a failure means.

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
"""What obstore raises. Some of its messages hold signed URLs and account names: show `reason_of`, never `str`."""

_RETRY: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
"""Inside one request, after errors of the server and of the network. One attempt is given up after 30 s, of which 5
to connect: obstore's defaults, because passing client options would switch off those from the environment."""

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
    """The store of `url`, to which all names are relative. LedgerError if it is no bucket's; nothing is asked yet."""
    if problem := problem_of_ledger(url):
        raise LedgerError(problem)
    try:
        return from_url(url, retry_config=_RETRY)
    except FAILURES as error:
        raise LedgerError(f"can't open {url}: {reason_of(error)}") from None


def create(store: ObjectStore, name: str, data: bytes) -> str:
    """Make an object, atomically and durably; returns its version's tag. `AlreadyExistsError` if the name is taken."""
    made = obstore.put(store, name, data, mode="create", use_multipart=False)
    return _tag(made["e_tag"], len(data))


def get(store: ObjectStore, name: str) -> bytes:
    """The object's content. FileNotFoundError if there is none."""
    return bytes(obstore.get(store, name).bytes())


def version_tags(store: ObjectStore, folder: str) -> dict[str, str]:
    """The objects in `folder` ("" for the top) and below, in order: full name and version's tag.

    Two versions of an object that differ have different tags; equal ones may have two.
    """
    pages = obstore.list(store, folder or None, chunk_size=_PAGE)  # pyright: ignore[reportUnknownMemberType]
    found = sorted((meta for page in pages for meta in page), key=lambda meta: meta["path"])
    # Consoles show an empty folder by an object of its name.
    found = [meta for meta in found if meta["size"] or meta["path"].rstrip("/") != folder]
    return {meta["path"]: _tag(meta["e_tag"] or meta["last_modified"].isoformat(), meta["size"]) for meta in found}


def top_level(store: ObjectStore) -> tuple[list[str], list[str]]:
    """Names of the objects and of the folders at the top."""
    found = obstore.list_with_delimiter(store)  # pyright: ignore[reportUnknownMemberType]
    return sorted(meta["path"] for meta in found["objects"]), sorted(found["common_prefixes"])


def reason_of(error: BaseException) -> str:
    """What obstore's error means, without what else its many lines hold."""
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
