"""Addresses of HTTP endpoints, in the form in which they are compared and shown."""

from __future__ import annotations

from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def normal_endpoint(url: str) -> str:
    """`url` with scheme and host in lower case, and without the scheme's own port or a slash at the end.

    Raises:
        ValueError: it is no such address, or holds a user, key or query. The message does not repeat the address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        clean = not (parts.username is not None or parts.password is not None or parts.query or parts.fragment)
    except ValueError:
        raise ValueError(_WRONG) from None
    if parts.scheme not in _PORTS or not host or not clean or any(part.isspace() for part in url):
        raise ValueError(_WRONG)
    shown = f"[{host}]" if ":" in host else host
    shown += "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{shown}{parts.path.rstrip('/')}"


def is_sent_in_clear(endpoint: str) -> bool:
    """Whether others on the way can read what is sent there: plain HTTP that leaves the machine."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    return parts.scheme == "http" and not (host in ("localhost", "::1") or host.startswith("127."))


_WRONG = "is not http(s)://host[:port]/path without user, key, query or fragment"
