"""Who is answered by `spti show`, and with what."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import socket
import threading
from types import SimpleNamespace

import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError
from spti_ray.io.files import write_atomic
from spti_ray.show import server as module
from spti_ray.show.server import application
from tests.local_runs import run

TOKEN = "a-token"


@pytest.fixture(scope="module")
def finished(configured, kept, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(configured(folder, privacy__allow_not_private=True), folder / "run")
    return folder / "run"


@pytest.fixture
def get(finished, tmp_path):
    """The status, text and headers of what is answered about a copy of a finished run."""
    out = shutil.copytree(finished, tmp_path / "run", symlinks=True)
    (out / "internal" / "evaluation").mkdir()
    (out / "internal" / "check.html").write_text("<p>canary of private images</p>")
    (out / "internal" / "evaluation" / "release-1.html").write_text("<p>canary of neighbours</p>")

    def get(path, internal=False, method="GET", **headers):
        async def ask():
            async with TestClient(TestServer(application(out, TOKEN, internal))) as client:
                answer = await client.request(method, path, headers=headers, allow_redirects=False)
                content = await answer.read()
                return SimpleNamespace(status=answer.status, text=content.decode("latin1"), headers=answer.headers)

        return asyncio.run(ask())

    get.out = out
    return get


def test_the_report_of_a_finished_run_its_documents_and_images_are_served(get):
    page = get(f"/{TOKEN}/")
    assert page.status == 200 and page.text == (get.out / "release" / "report.html").read_bytes().decode("latin1")
    (image, *_) = (get.out / "release" / "images").iterdir()
    assert get(f"/{TOKEN}/images/{image.name}").text == image.read_bytes().decode("latin1")
    assert get(f"/{TOKEN}/datasheet.md").text == (get.out / "release" / "datasheet.md").read_bytes().decode("latin1")


@pytest.mark.parametrize(
    "path",
    ["/", "/wrong/", "/wrong/datasheet.md", "/a-tokem/", "/internal/", "/favicon.ico"],
)
def test_without_the_token_nothing_is_there(path, get):
    answer = get(path)
    assert answer.status == 404 and TOKEN not in answer.text


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:80", "127.0.0.1.example.org", "localhost.example.org", ""]
)
def test_a_name_that_is_not_this_machines_is_not_answered(host, get):
    """A page of another site can make its own name resolve to this machine."""
    assert get(f"/{TOKEN}/", Host=host).status in (400, 404)


@pytest.mark.parametrize("host", ["localhost", "localhost:8642", "127.0.0.1:9"])
def test_a_forwarded_port_is_answered(host, get):
    assert get(f"/{TOKEN}/", Host=host).status == 200


@pytest.mark.parametrize(
    "path",
    ["run.yaml", "..%2frun.yaml", "images/..%2f..%2frun.yaml", "images/", "images/none.png", "internal/", "report.css",
     "internal/check.html", "generations/00/candidates.parquet"],
)  # fmt: skip
def test_nothing_else_of_the_run_is_served(path, get):
    answer = get(f"/{TOKEN}/{path}")
    assert answer.status == 404 and "canary" not in answer.text


def test_the_manifest_is_read_once_for_all_images_and_again_when_it_was_written_again(tmp_path, monkeypatch):
    reads = []

    def read(release, columns):
        reads.append(release)
        return pa.table({"file": [f"images/{len(reads)}.png"]})

    monkeypatch.setattr(module, "read_manifest", read)
    released = module._Released()
    assert released(None) == released(tmp_path) == frozenset() and not reads
    write_atomic(tmp_path / "manifest.parquet", "first")
    assert released(tmp_path) == released(tmp_path) == {"images/1.png"} and len(reads) == 1
    write_atomic(tmp_path / "manifest.parquet", "second")
    assert released(tmp_path) == {"images/2.png"}


def test_an_image_that_the_manifest_does_not_name_is_not_served(get):
    (get.out / "release" / "images" / "canary.png").write_bytes(b"canary")
    assert get(f"/{TOKEN}/images/canary.png").status == 404


def test_the_owners_pages_are_served_on_demand_alone_and_marked(get):
    listed = get(f"/{TOKEN}/internal/", internal=True)
    assert "INTERNAL" in listed.text and "check.html" in listed.text and "release-1.html" in listed.text
    assert "canary" in get(f"/{TOKEN}/internal/check.html", internal=True).text
    assert "canary" in get(f"/{TOKEN}/internal/release-1.html", internal=True).text
    for name in ("driver.log", "..%2frun.yaml", "evaluation%2frelease-1.html"):
        assert get(f"/{TOKEN}/internal/{name}", internal=True).status == 404


@pytest.mark.parametrize("path", ["/a-token/", "/a-token/datasheet.md", "/wrong/", "/a-token/none"])
def test_no_answer_may_be_kept_framed_or_followed_elsewhere(path, get):
    headers = get(path).headers
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(method, get):
    assert get(f"/{TOKEN}/", method=method).status == 405


def test_damage_is_told_in_a_line(get):
    (get.out / "release" / "report.html").unlink()
    for path in (get.out / "generations").glob("*/candidates.parquet"):
        path.write_bytes(b"damaged")
    answer = get(f"/{TOKEN}/")
    assert answer.status == 500 and answer.text.count("\n") == 1 and "Traceback" not in answer.text


def test_the_address_is_loopback_with_a_token_of_its_own_and_no_log_has_it(finished, monkeypatch, caplog):
    told = []

    class Asked(Exception):
        pass

    def started(address):
        told.append(address)
        raise Asked

    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with pytest.raises(Asked):
                module.serve(finished, 0, False, started)
    first, second = told
    assert first.startswith("http://127.0.0.1:") and first.split("/")[3] != second.split("/")[3]
    assert len(first.split("/")[3]) >= 32
    assert all(address.split("/")[3] not in caplog.text for address in told)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        application(tmp_path, TOKEN)


@pytest.mark.parametrize("path", ["/a-token", "/a-token/internal"])
def test_an_address_without_its_last_slash_is_found_or_not_there_but_never_an_error(path, get):
    answer = get(path)
    assert (answer.status, answer.headers.get("Location")) in ((302, "/a-token/"), (404, None))


def test_a_malformed_request_is_answered_and_nothing_of_it_is_said(finished, capfd, caplog):
    """Its path may hold the token, or be none at all."""
    answers = []

    class Asked(Exception):
        pass

    def started(address):
        host, port = address.split("/")[2].split(":")
        token = address.split("/")[3]

        def ask():
            lines = (
                f"OPTIONS * HTTP/1.1\r\nHost: {host}",
                f"GET {token} HTTP/1.1\r\nHost: {host}",
                "GET / HTTP/1.1\r\nHost:",
            )
            for line in lines:
                with socket.create_connection((host, int(port)), timeout=20) as connection:
                    connection.sendall(f"{line}\r\nConnection: close\r\n\r\n".encode())
                    answers.append(connection.recv(65536).split()[1])
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=ask).start()

    module.serve(finished, 0, False, started)
    assert len(answers) == 3 and all(answer in (b"400", b"404") for answer in answers)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "") and "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("number", "why"),
    [(errno.EADDRINUSE, "another program listens on it"), (errno.EACCES, "is not for every user to listen on")],
)
def test_a_port_that_can_not_be_had_is_named_with_what_to_give_instead(monkeypatch, number, why):
    def refuse(*_):
        raise OSError(number, "error while attempting to bind on address")

    monkeypatch.setattr("spti_ray.show.server.serve", refuse)
    done = CliRunner().invoke(app, ["show", "runs/a", "--port", "8642"])
    assert done.exit_code == 2
    assert done.stderr == f"spti: --port 8642: {why}; give another, or --port 0 for any that is free\n"
