"""The renderer behind an OpenAI-compatible images endpoint, against a small local server."""

import threading

import numpy as np
import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.factory import build_engine, check_varies
from tests.openai_server import KEY, openai_server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("PAINTER_KEY", KEY)
    with openai_server() as server:
        yield server


def renderer_at(server, **options):
    options = {"base_url": server.url, "api_key_env": "PAINTER_KEY", "width": 24, "height": 16} | options
    return build_engine("renderer", EngineConfig(kind="openai-images", model="painter", options=options))


def test_each_text_becomes_an_image_of_its_own_seed_in_order(server):
    server.delay_s = 0.02
    images = renderer_at(server, max_concurrent=2).render(["a", "bb", "ccc"], [1, 2, (1 << 62) + 3])
    assert [image.shape for image in images] == [(16, 24, 3)] * 3 and images[0].dtype == np.uint8
    assert [tuple(image[0, 0]) for image in images] == [(1, 1, 7), (2, 2, 7), (3, 3, 7)]
    assert server.most_at_once == 2
    assert all(
        body == {
            "model": "painter", "n": 1, "size": "24x16", "response_format": "b64_json",
            "prompt": body["prompt"], "seed": body["seed"],
        }
        for _, body, _ in server.requests
    )  # fmt: skip


def test_fields_that_the_endpoint_does_not_take_are_left_out(server):
    renderer_at(server, leave_out=["seed", "response_format"], extra={"quality": "low"}).render(["a"], [1])
    assert set(server.requests[0][1]) == {"model", "n", "size", "prompt", "quality"}


def test_it_renders_in_the_thread_that_is_given_to_it(server):
    """As the renderer's actor does."""
    found: list[int] = []

    def work():
        renderer = renderer_at(server)
        found.extend(len(renderer.render(["a"], [1])) for _ in range(2))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert found == [1, 1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "gave no image"),
        ([{"url": "http://elsewhere/image.png"}], "a link to one is not followed"),
        ([{"b64_json": "aGVsbG8="}], "gave what is no image"),
        ([{"b64_json": "?"}], "gave what is no image"),
    ],
)
def test_what_is_no_image_is_told_in_one_line(server, data, said):
    server.faults = [(200, {}, {"created": 0, "data": data})]
    with pytest.raises(RuntimeError, match=said):
        renderer_at(server).render(["a"], [1])


def test_another_size_than_asked_for_is_told(server):
    server.sizes = "10x10"
    with pytest.raises(RuntimeError, match="gave 10x10 pixels where 24x16 were asked for"):
        renderer_at(server).render(["a"], [1])


def test_an_image_that_is_refused_is_the_only_one_missing_and_a_limit_is_waited_for(server):
    server.faults = [(429, {"retry-after": "0.05"}, {"error": {"message": "slow down"}})]
    assert len(renderer_at(server).render(["a"], [1])) == 1
    server.faults = [(400, {}, {"error": {"message": "not that", "code": "moderation_blocked"}})]
    images = renderer_at(server, max_concurrent=1).render(["a", "b", "c"], [1, 2, 3])
    assert sum(image is None for image in images) == 1 and len(images) == 3


def test_an_endpoint_that_fails_all_images_is_told(server):
    server.faults = [(400, {}, {"error": {"message": "no such size"}})] * 2
    with pytest.raises(RuntimeError, match="answered 400: no such size"):
        renderer_at(server).render(["a", "b"], [1, 2])


def test_it_varies_images_only_where_the_endpoint_is_said_to():
    with pytest.raises(ValueError, match=r"^runtime\.engines\.renderer\.options\.edits: is not set, and method: pe-i"):
        check_varies(EngineConfig(kind="openai-images", model="painter"))
    check_varies(EngineConfig(kind="openai-images", model="painter", options={"edits": True}))
