"""A local Ray's token is in the environment while it runs, and nowhere afterwards."""

import os
from pathlib import Path

import pytest
from ray._private.authentication.authentication_token_setup import (
    enable_token_auth_by_default,
    ensure_token_if_auth_enabled,
)
from ray._raylet import AuthenticationMode, AuthenticationTokenLoader, get_authentication_mode

from spti_ray.runtime.ray.token import MODE, TOKEN, TOKEN_PATH, own_token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (MODE, TOKEN, TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def start_as_ray_does() -> None:
    """What `ray.init` of 2.60 does for a new local cluster before it starts anything."""
    enable_token_auth_by_default()
    ensure_token_if_auth_enabled({}, create_token_if_missing=True)


@pytest.mark.parametrize(
    "given", [{}, {MODE: "token"}, {MODE: "token", TOKEN_PATH: "/nowhere/token"}, {TOKEN: "b" * 64}]
)
def test_a_local_ray_uses_its_own_token_and_leaves_environment_and_home_as_they_were(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before, tokens = dict(os.environ), set()
    for _ in range(2):
        with own_token() as token:
            start_as_ray_does()
            assert get_authentication_mode() == AuthenticationMode.TOKEN
            assert AuthenticationTokenLoader.instance().get_raw_token() == token == os.environ[TOKEN]
            tokens.add(token)
        assert dict(os.environ) == before
    assert len(tokens) == 2 and all(len(token) == 64 for token in tokens) and given.get(TOKEN) not in tokens
    assert list(home.iterdir()) == []
    assert (get_authentication_mode() == AuthenticationMode.TOKEN) == (MODE in given)


def test_it_needs_no_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/proc/nonexistent")
    with own_token():
        start_as_ray_does()


def test_who_turned_authentication_off_keeps_it_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(MODE, "disabled")
    with own_token() as token:
        start_as_ray_does()
        assert token == "" and TOKEN not in os.environ
        assert get_authentication_mode() == AuthenticationMode.DISABLED
