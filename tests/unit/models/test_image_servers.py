"""Renderers behind vLLM-Omni and SGLang-diffusion, against a local server that answers as their sources say."""

import numpy as np
import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine
from tests.image_servers import MODEL, sglang, vllm_omni
from tests.openai_server import KEY, openai_server

TEXTS, SEEDS = ["a cat", "a dog"], [1, (1 << 40) + 2]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("PAINTER_KEY", KEY)
    with openai_server() as server:
        yield server


def renderer_at(server, model=MODEL, **options):
    options = {"base_url": server.url, "api_key_env": "PAINTER_KEY", "width": 24, "height": 16} | options
    return build_engine("renderer", EngineConfig(kind="openai-images", model=model, options=options))


@pytest.mark.parametrize("routes", [vllm_omni(), sglang()], ids=["vllm-omni", "sglang"])
def test_a_served_model_renders_each_text_from_its_seed(server, routes):
    server.usual = routes
    renderer = renderer_at(server, extra={"num_inference_steps": 8, "generator_device": "cpu"})
    first, second = renderer.render(TEXTS, SEEDS), renderer.render(TEXTS[::-1], SEEDS[::-1])[::-1]
    assert [image.shape for image in first] == [(16, 24, 3)] * 2
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(*first)
    _, body, _ = server.requests[0]
    assert body["num_inference_steps"] == 8 and body["generator_device"] == "cpu" and body["size"] == "24x16"


def test_variations_are_the_nearer_to_their_image_the_smaller_the_strength(server):
    server.usual = vllm_omni()
    renderer = renderer_at(server, edits=True)
    origins = renderer.render(TEXTS, SEEDS)

    def distance(strength):
        varied = renderer.vary(origins, TEXTS, [3, 4], strength)
        assert [image.shape for image in varied] == [(16, 24, 3)] * 2
        return np.abs(np.stack(varied).astype(int) - np.stack(origins)).mean()

    assert distance(0.2) < distance(0.5) < distance(0.9)
    path, form, _ = server.requests[-1]
    assert path == "/v1/images/edits" and form["strength"] == "0.9" and form["prompt"] in TEXTS
    assert (form["size"], form["n"], form["response_format"], form["seed"]) == ("24x16", "1", "b64_json", form["seed"])
    assert form["image"].startswith(b"\x89PNG")


def test_the_strength_is_tried_once(server):
    server.usual = vllm_omni()
    renderer = renderer_at(server, edits=True)
    origins = renderer.render(TEXTS, SEEDS)
    renderer.vary(origins, TEXTS, SEEDS, 0.5)
    before = len(server.requests)
    renderer.vary(origins, TEXTS, SEEDS, 0.5)
    assert len(server.requests) == before + 2


@pytest.mark.parametrize("routes", [vllm_omni(heeds_strength=False), sglang()], ids=["vllm-omni", "sglang"])
def test_a_server_that_leaves_the_strength_out_without_a_word_is_found(server, routes):
    server.usual = routes
    renderer = renderer_at(server, edits=True)
    with pytest.raises(ValueError, match="gives the same image at every strength.*pe-image") as caught:
        renderer.vary(renderer.render(TEXTS, SEEDS), TEXTS, SEEDS, 0.5)
    assert "\n" not in str(caught.value)


def test_what_a_server_made_with_fastapi_says_is_repeated(server):
    server.usual = vllm_omni()
    with pytest.raises(RuntimeError, match="answered 400: Model mismatch: request specifies 'other' but server is run"):
        renderer_at(server, model="other").render(TEXTS, SEEDS)


def test_an_endpoint_without_edits_is_told_in_one_line(server):
    renderer = renderer_at(server, model="painter", edits=True)
    origins = renderer.render(TEXTS, SEEDS)
    with pytest.raises(RuntimeError, match="answered 404: Not Found"):
        renderer.vary(origins, TEXTS, SEEDS, 0.5)
