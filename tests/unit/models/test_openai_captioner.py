"""The captioner behind an OpenAI-compatible endpoint, against a small local server."""

import numpy as np
import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine
from tests.openai_server import KEY, openai_server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("SEER_KEY", KEY)
    with openai_server() as server:
        yield server


def captioner_at(server, **options):
    options = {"base_url": server.url, "api_key_env": "SEER_KEY"} | options
    return build_engine("captioner", EngineConfig(kind="openai-vision", model="seer", options=options))


def image(value, height=6, width=8):
    return np.full((height, width, 3), value, np.uint8)


def test_each_image_is_sent_as_its_pixels_and_comes_back_as_one_caption_in_order(server):
    captions = captioner_at(server).caption([image(value) for value in (1, 2, 3)])
    assert captions == [f"a picture of (8, 6) PNG ({value}, {value}, {value}) 0" for value in (1, 2, 3)]
    for _, body, _ in server.requests:
        assert set(body) == {"model", "temperature", "seed", "max_tokens", "messages"} and body["temperature"] == 0
        (message,) = body["messages"]
        assert message["content"][0] == {"type": "text", "text": "Describe this image in one short sentence."}
        assert set(message["content"][1]["image_url"]) == {"url"}


def test_large_images_are_made_smaller_first(server):
    (caption,) = captioner_at(server, max_side=16, detail="low").caption([image(9, 64, 32)])
    assert "(8, 16)" in caption
    assert server.requests[0][1]["messages"][0]["content"][1]["image_url"]["detail"] == "low"


def test_a_failure_is_an_error_and_no_request_is_left_behind(server):
    server.delay_s = 0.05
    server.faults = [(400, {}, {"error": {"message": "no"}})]
    captioner = captioner_at(server)
    with pytest.raises(RuntimeError, match="answered 400"):
        captioner.caption([image(value) for value in range(4)])
    assert len(server.requests) == 4
    assert len(captioner.caption([image(1)])) == 1, "and it goes on"


def answer(content, finish_reason="stop", **message):
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content} | message,
    }
    return (200, {}, {"choices": [choice]})


@pytest.mark.parametrize(
    "fault",
    [
        answer(""),
        answer(None),
        answer(" \n"),
        answer(None, reasoning_content="The image shows"),
        answer("I'm sorry, but I can't help with identifying people."),
        answer("a picture", refusal="I can't"),
        answer("Okay, the user wants a description of the image."),
        answer("<think>The image shows a dog"),
        answer("a picture of a", "length"),
        answer("a picture of a man", "content_filter"),
        (200, {}, {"choices": None}),
        (200, {}, {"choices": []}),
        (400, {}, {"error": {"message": "flagged", "code": "content_filter"}}),
        (403, {}, {"error": {"message": "Your input was flagged by moderation", "code": 403}}),
    ],
)
def test_an_answer_that_is_no_caption_costs_its_image_the_caption_and_no_other(server, fault):
    server.faults = [fault]
    captions = captioner_at(server, max_concurrent=1).caption([image(value) for value in (1, 2, 3)])
    assert sorted(bool(caption) for caption in captions) == [False, True, True]
    assert len(server.requests) == 3, "and nothing is asked again"


@pytest.mark.parametrize(
    ("fault", "caption"),
    [
        (answer("<think>The image shows a dog</think>\n\nA sorry-looking\n dog."), "A sorry-looking dog."),
        (answer([{"type": "text", "text": "an okay sign"}, {"type": "text", "text": " with a hand"}]),
         "an okay sign with a hand"),
        (answer("A dog sits on a bench. Beside it st", "length"), "A dog sits on a bench."),
    ],
)  # fmt: skip
def test_what_is_a_caption_is_taken_out_of_its_answer(server, fault, caption):
    server.faults = [fault]
    assert captioner_at(server).caption([image(1)]) == [caption]


def test_images_go_to_the_endpoint_itself_by_no_proxy_and_no_redirect(server, monkeypatch):
    with openai_server() as elsewhere:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        captioner = captioner_at(server)
        assert len(captioner.caption([image(1)])) == 1
        server.faults = [(308, {"location": f"{elsewhere.url}/chat/completions"}, {})]
        with pytest.raises(RuntimeError, match="answered 308"):
            captioner.caption([image(1)])
        assert elsewhere.requests == []


def test_it_says_where_images_go_and_counts_none(server):
    captioner = captioner_at(server)
    captioner.caption([image(1)])
    assert captioner.identity() == {
        "kind": "openai-vision", "model": "seer", "revision": "as served", "endpoint": server.url,
    }  # fmt: skip
    assert not hasattr(captioner, "stats") and not hasattr(captioner, "usage")
