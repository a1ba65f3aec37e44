"""Private images and endpoints: none is sent to one that is not declared trusted, and the certificate tells of one
that is. The endpoint is a small local server, whose captions are SIMULATED."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import FEW
from tests.openai_server import openai_server
from tests.taint.scan import CORE, find_in_files


@pytest.fixture
def server(monkeypatch):
    with openai_server(f"sk-{CORE}-0123456789") as server:
        server.says = f"{CORE} picture"
        monkeypatch.setenv("SEER_KEY", server.key)
        yield server


def _settings(server, *more):
    fake = "kind: fake-{}, model: SIMULATED, num_cpus: 0.1"
    roles = {"writer": "writer", "renderer": "renderer", "image_embedder": "image-embedder"}
    engines = [f"--set=runtime.engines.{role}={{{fake.format(kind)}}}" for role, kind in roles.items()]
    options = f"{{base_url: '{server.url}', api_key_env: SEER_KEY}}"
    captioner = f"{{kind: openai-vision, model: seer, num_cpus: 0.1, options: {options}}}"
    return [*engines, f"--set=runtime.engines.captioner={captioner}", *(f"--set={setting}" for setting in more)]


def _run_arguments(cli, server, *more):
    arguments = cli.run_arguments("run", "evolution.voting=caption", "evolution.generations=2")
    return [argument for argument in arguments if "runtime.engines" not in argument] + [
        *_settings(server, *more),
        "--set=runtime.engines.text_embedder={kind: fake-text-embedder, model: SIMULATED, num_cpus: 0.1}",
    ]


def test_private_images_go_to_a_trusted_endpoint_alone_and_its_certificate_says_so(cli, server):
    refused = cli(*_run_arguments(cli, server))
    assert refused.returncode == 2 and server.requests == []
    (line,) = refused.stderr.strip().splitlines()
    assert f"would send private images to {server.url}" in line and "privacy.trusted_endpoints" in line
    assert not (cli.folder / "run").exists() and not (cli.folder / "ledger").exists()

    done = cli(*_run_arguments(cli, server, f"privacy.trusted_endpoints=['{server.url}']"))
    assert done.returncode == 0, done.stdout + done.stderr
    told = f"captioner seer at {server.url}"
    assert f"sent outside the cluster, to the {told}" in " ".join(done.stdout.split())
    release = cli.folder / "run" / "release"
    document = json.loads((release / "privacy.json").read_text())
    assert document["engines_outside"] == [told] and told in document["trust"]["trusted"]
    for page in ("report.html", "datasheet.md"):
        assert server.url in (release / page).read_text(), page
    proved = cli("verify", "run")
    assert proved.returncode == 0 and "engines_outside" in proved.stdout, proved.stdout

    document.pop("engines_outside")
    (release / "privacy.json").write_text(json.dumps(document))
    assert cli("verify", "run").returncode == 1, "it can't be left out"

    # Each image once, or once more alone; and no caption is anywhere.
    assert len(server.requests) >= FEW
    assert CORE not in done.stdout + done.stderr
    assert find_in_files([cli.folder]) == [], "nor is the key"
