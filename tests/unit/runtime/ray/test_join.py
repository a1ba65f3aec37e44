"""An address at which no Ray answers is told in one line, soon, and without what is secret in it."""

import socket
import time
from collections.abc import Iterator

import pytest

from spti_ray.config import RuntimeConfig
from spti_ray.errors import RESOURCES, RayUnavailable, exit_code
from spti_ray.runtime.ray import join as ray_join
from spti_ray.runtime.ray import submit
from spti_ray.runtime.ray.cluster import check_start
from spti_ray.runtime.ray.join import check_address, join
from spti_ray.runtime.ray.submit import NotSubmitted, connect


@pytest.fixture
def silent() -> Iterator[str]:
    """HOST:PORT of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch):
    assert ray_join._ANSWERS_WITHIN_S < 30 and submit._ANSWERS_WITHIN_S < 30
    monkeypatch.setattr(ray_join, "_ANSWERS_WITHIN_S", 0.5)
    monkeypatch.setattr(submit, "_ANSWERS_WITHIN_S", 0.5)


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("where", ["silent", "closed"])
def test_an_address_where_no_ray_answers_is_named(scheme: str, where: str, request: pytest.FixtureRequest):
    address = scheme + request.getfixturevalue(where)
    started = time.monotonic()
    with pytest.raises(RayUnavailable) as caught:
        check_start(RuntimeConfig(address=address))
    assert time.monotonic() - started < 5
    assert str(caught.value) == (
        f"{address}: no Ray answers there within 0.5 s; check runtime.address and RAY_ADDRESS, and that the head node "
        "is up and can be reached from here"
    )
    assert exit_code(caught.value) == RESOURCES


def test_the_environments_address_is_checked_as_well(closed: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", closed)
    with pytest.raises(RayUnavailable, match=f"^{closed}: no Ray answers"):
        check_start(RuntimeConfig())


def test_what_is_no_address_is_told_in_one_line():
    with pytest.raises(RayUnavailable) as caught:
        join("head")
    assert str(caught.value).startswith(
        "head: could not join Ray there: ValueError: Invalid address format: head; check"
    )


def test_credentials_are_neither_told_nor_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    address = "auto?key=hush-hush"

    def init(address: str, **_: object) -> None:
        raise ConnectionError(f"{'nothing there ' * 9}at {address}")

    monkeypatch.setattr(ray_join.ray, "init", init)
    with pytest.raises(RayUnavailable) as caught:
        join(address)
    assert str(caught.value).startswith("auto: could not join Ray there: ConnectionError: nothing there")
    assert "hush" not in str(caught.value) + caplog.text and "nothing there" in caplog.text


def test_a_dashboards_address_is_recognised():
    with pytest.raises(RayUnavailable) as caught:
        check_address("http://me:secret@head:8265/?token=secret")
    told = str(caught.value)
    assert told.startswith("http://head:8265/ is the address of a dashboard, which `spti submit --address` takes; set ")
    assert "secret" not in told


@pytest.mark.parametrize("where", ["silent", "closed"])
def test_a_dashboard_that_does_not_answer_is_named_without_credentials(where: str, request: pytest.FixtureRequest):
    address = request.getfixturevalue(where)
    started = time.monotonic()
    with pytest.raises(NotSubmitted) as caught:
        connect(f"http://me:secret@{address}")
    assert time.monotonic() - started < 10
    told = str(caught.value)
    assert told.startswith(f"http://{address} does not answer ") and told.endswith("expected http://HEAD:8265")
    assert "secret" not in told and "\n" not in told
