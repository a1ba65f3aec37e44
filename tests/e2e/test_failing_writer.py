"""A writer whose every request is refused: the run ends before its first reservation, and says why."""

import json

import pytest

from tests.openai_server import KEY, OpenAIServer, openai_server

REFUSED = (400, {}, {"error": {"message": "Unsupported parameter: 'max_tokens'", "code": "unsupported_parameter"}})


def engines(url):
    roles = ("renderer", "captioner", "image_embedder", "text_embedder")
    fakes = {role: {"kind": f"fake-{role.replace('_', '-')}", "model": "SIMULATED", "num_cpus": 0.1} for role in roles}
    options = {"base_url": url, "api_key_env": "WRITER_KEY", "max_retries": 0}
    return json.dumps(fakes | {"writer": {"kind": "openai", "model": "m", "num_cpus": 0.1, "options": options}})


@pytest.mark.parametrize("method", ["spti", pytest.param("random", marks=pytest.mark.slow)])
def test_a_writer_that_refuses_everything_costs_no_epsilon_and_is_told_in_the_endpoints_words(cli, monkeypatch, method):
    monkeypatch.setenv("WRITER_KEY", KEY)
    usual = OpenAIServer.answer

    def refuse(self, verb, path, body, headers):
        return REFUSED if path.endswith("completions") else usual(self, verb, path, body, headers)

    monkeypatch.setattr(OpenAIServer, "answer", refuse)
    with openai_server() as server:
        arguments = cli.run_arguments("run", f"runtime.engines={engines(server.url)}", f"method={method}")
        for attempt in ("first", "resumed"):
            done = cli(*arguments)
            assert done.returncode == 1, (attempt, done.stdout, done.stderr)
            said = " ".join(done.stderr.split())
            assert "no usable text for 24 of the 24" in said and "answered 400: Unsupported parameter" in said
            assert "Traceback" not in done.stderr
    log = (cli.folder / "run" / "internal" / "driver.log").read_text()
    assert "answered 400: Unsupported parameter" in log and KEY not in log + done.stdout + done.stderr
    ledger = cli.folder / "ledger" / "stickers.jsonl"
    kinds = [json.loads(line)["kind"] for line in ledger.read_text().splitlines()] if ledger.exists() else []
    assert "RESERVED" not in kinds and bool(kinds) == (method == "spti")
    assert not (cli.folder / "run" / "release").exists()


def test_the_share_of_texts_that_nobody_wrote_is_told_at_the_end(finished):
    (line,) = [line for line in finished.stdout.splitlines() if line.startswith("texts: ")]
    timings = json.loads((finished.out / "internal" / "timings.json").read_text())
    assert timings["writer_in_all"]["output_tokens"] == timings["stages"]["writer"]["output_tokens"] > 0
    assert "writer, over all attempts" not in finished.stdout, "there was but one"
    told = timings["texts"]
    assert set(told) == {"0", "1", "2"} and told["0"]["asked"] == 24
    share = f"{sum(one['fallbacks'] for one in told.values())} of {sum(one['asked'] for one in told.values())}"
    assert share in line and share in (finished.out / "release" / "datasheet.md").read_text()
