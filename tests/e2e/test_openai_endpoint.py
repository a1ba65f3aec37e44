"""The writer behind HTTP: alone against vLLM's own server on the bundled language model, and in a whole run on Ray
against a small local server, whose answers are SIMULATED."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.bundled import resolve_model
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import EMBEDDED, build_engine
from spti_ray.types import WriteRequest
from tests.openai_server import openai_server
from tests.taint.scan import CORE, find_in_files

STICKERS = str(Path(__file__).parents[2] / "jobs" / "stickers.yaml")
KEY = f"sk-{CORE}-0123456789"
FEW_SHOT = "Stickers.\n" + "".join(f"Thing {i}. Text: a small red thing with number {i}\n" for i in range(8))

# As `vllm_arguments` has it for the CPU, where vLLM can't split a prompt whose request has a seed; but for bfloat16.
_ARGUMENTS = """--enforce-eager --no-enable-chunked-prefill --max-num-batched-tokens 2048 --max-model-len 1024
--max-num-seqs 16 --block-size 32 --dtype float32 --disable-log-stats --disable-uvicorn-access-log"""


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM's server with SmolLM2, which wants KEY."""
    pytest.importorskip("vllm", reason="needs the cpu or gpu extra")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not the command `vllm serve`, which is the same: of the CPU build it asks for the version of a package "vllm".
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", resolve_model("bundled:smollm2")]
    command += ["--served-model-name", "smollm2", "--host", "127.0.0.1"]
    environment = os.environ | engine_environment("writer", EMBEDDED.writer) | {"VLLM_API_KEY": KEY}
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [*command, "--port", str(port), *_ARGUMENTS.split()], env=environment, stdout=said, stderr=said
        )
    try:
        deadline = time.monotonic() + 240
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def _writer(url: str, **options):
    options = {"base_url": url, "api_key_env": "WRITER_KEY", "prices": {"input": 1.0, "output": 2.0}} | options
    return build_engine("writer", EngineConfig(kind="openai", model="smollm2", options=options))


@pytest.mark.slow
def test_a_language_model_behind_vllms_own_server_writes(vllm_server, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", KEY)
    writer = _writer(vllm_server, prompt_format="completion", max_concurrent=4)
    chat = _writer(vllm_server, prompt_format="few-shot-chat")
    asked = [WriteRequest(FEW_SHOT + f"Animal {i}. Text:", 2, 100 + i, 12, top_p=0.95) for i in range(6)]

    async def both():
        return await writer.write(asked), await writer.write(asked), await chat.write(asked[:2])

    first, again, in_turns = asyncio.run(both())
    texts = [text for answer in first for text in answer.texts]
    assert len(texts) == 12 and all(text.strip() and "\n" not in text for text in texts)
    # Seeds are honoured; another batch may tip a token where two are equally likely.
    repeated = [text for answer in again for text in answer.texts]
    assert sum(a == b for a, b in zip(texts, repeated, strict=True)) >= 0.7 * len(texts)
    assert len(set(texts)) > 8
    assert all(len(answer.texts) == 2 and answer.num_tokens > 0 for answer in in_turns)
    usage = writer.usage()
    tokens = sum(answer.num_tokens for answer in (*first, *again))
    assert usage["generation_tokens"] == tokens and usage["prompt_tokens"] > 12 * 60
    assert usage["dollars"] == pytest.approx((usage["prompt_tokens"] * 1.0 + tokens * 2.0) / 1e6)


@pytest.mark.slow
def test_vllms_server_refuses_another_key_and_a_prompt_that_is_too_long(vllm_server, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", "sk-wrong")
    with pytest.raises(ValueError, match=r"refuses the key in \$WRITER_KEY \(status 401\)"):
        _writer(vllm_server)
    monkeypatch.setenv("WRITER_KEY", KEY)
    with pytest.raises(RuntimeError, match="answered 400: .*(length|tokens)"):
        asyncio.run(_writer(vllm_server).write([WriteRequest("word " * 2000, 1, 1, 8)]))


def test_a_run_writes_through_the_endpoint_and_the_key_is_nowhere(cli, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", KEY)
    with openai_server(KEY) as server:
        options = f"{{base_url: '{server.url}', api_key_env: WRITER_KEY, prompt_format: completion}}"
        with tempfile.TemporaryDirectory(prefix="spti") as ray:  # Ray's sockets need a short path.
            monkeypatch.setenv("RAY_TMPDIR", ray)
            done = cli.anew(
                "run",
                STICKERS,
                "--out=run",
                "--set=method=random",
                "--set=evolution.candidates=8",
                "--set=evolution.themes=[]",
                "--set=release.images=8",
                "--set=release.images_per_text=1",
                "--set=runtime.engines.renderer={kind: fake-renderer, model: SIMULATED, num_cpus: 0.1}",
                f"--set=runtime.engines.writer={{kind: openai, model: smollm2, num_cpus: 0.1, options: {options}}}",
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert list(Path(ray).glob("**/logs/*")), "Ray's own files are looked at too"
            assert find_in_files([Path(ray)]) == []
    rows = pq.read_table(cli.folder / "run" / "release" / "manifest.parquet").to_pylist()
    assert len(rows) == 8 and (rows[0]["writer_model"], rows[0]["writer_revision"]) == ("smollm2", "as served")
    assert CORE not in done.stdout + done.stderr
    assert find_in_files([cli.folder]) == []
