"""The writer by batches, against the local server: answers, what is found again after a crash, what is asked again."""

import asyncio

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.models import openai_batches
from spti_ray.planning.checks import check_engines
from tests.openai_server import KEY, openai_server
from tests.unit.conftest import config_with
from tests.unit.models.test_openai_writer import requests, writer_at, written


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("WRITER_KEY", KEY)
    with openai_server() as server:
        yield server


def batch_writer(server, **options):
    return writer_at(server, batch=True, poll_s=0.01, **options)


@pytest.mark.parametrize("prompt_format", ["chat", "completion"])
def test_a_batch_gives_what_single_requests_give(server, prompt_format):
    prices = {"input": 1.0, "output": 4.0}
    options = {"prompt_format": prompt_format, "prices": prices, "extra": {"safe_mode": True}}
    writer = batch_writer(server, **options)
    answers = written(writer, requests(5))
    single = writer_at(server, **options)
    assert answers == written(single, requests(5))
    assert writer.usage() == single.usage()
    (batch,) = server.batches.all
    assert batch["endpoint"] == ("/v1/chat/completions" if prompt_format == "chat" else "/v1/completions")
    assert batch["completion_window"] == "24h"
    # Line by line what is sent alone.
    bodies = [body for path, body, _ in server.requests if path.endswith("completions")]
    sent = sorted((line["body"] for line in server.batches.requests(0)), key=lambda body: body["seed"])
    assert sent == sorted(bodies, key=lambda body: body["seed"])


def test_a_batch_of_a_writer_that_was_killed_is_found_and_not_paid_twice(server):
    server.batches.polls = 10**9

    async def killed():
        async with asyncio.timeout(1.0):
            await batch_writer(server).write(requests(4))

    with pytest.raises(TimeoutError):
        asyncio.run(killed())
    assert len(server.batches.all) == 1
    server.batches.polls = 1
    answers = written(batch_writer(server), requests(4))
    assert answers == written(writer_at(server), requests(4)) and len(server.batches.all) == 1
    # Done, it still serves who asks the same; other requests are another batch.
    assert written(batch_writer(server), requests(4)) == answers and len(server.batches.all) == 1
    written(batch_writer(server), requests(3))
    assert len(server.batches.all) == 2


def test_what_an_expired_batch_left_is_asked_again_alone(server):
    server.batches.ends, server.batches.unanswered = ["expired"], {"1", "3"}
    answers = written(batch_writer(server), requests(4))
    assert answers == written(writer_at(server), requests(4))
    assert [line["custom_id"] for line in server.batches.requests(1)] == ["1", "3"]
    assert len(server.batches.all) == 2


def test_a_request_that_failed_for_a_moment_is_asked_again(server):
    server.batches.fails = {"0": (503, {"message": "overloaded"}), "1": (429, {"message": "slow down"})}
    assert written(batch_writer(server), requests(2)) == written(writer_at(server), requests(2))
    assert len(server.batches.all) == 2, "also if it is all that was asked"


def test_requests_that_never_get_an_answer_are_given_up(server, monkeypatch):
    monkeypatch.setattr(type(server.batches), "_finish", lambda self, batch: batch.update(status="expired"))
    with pytest.raises(RuntimeError, match="left 2 requests unanswered in 3 batches"):
        written(batch_writer(server), requests(2))


def test_a_text_that_the_filter_refuses_is_empty_and_the_others_are_not(server):
    server.batches.fails = {"1": (400, {"message": "no", "code": "content_filter"})}
    answers = written(batch_writer(server), requests(3))
    assert answers[1].texts == ("", "") and answers[0].texts == ("Thing 0 0", "Thing 0 1")
    assert len(server.batches.all) == 1


def test_one_line_of_twenty_that_is_refused_costs_its_text_and_no_other(server):
    server.batches.fails = {"7": (400, {"message": f"this\none {KEY}", "code": "invalid_value"})}
    answers = written(batch_writer(server), requests(20, n=1))
    assert [i for i, answer in enumerate(answers) if answer.texts == ("",)] == [7]
    assert "answered 400 in a batch: this one [key]" in answers[7].problem and "\n" not in answers[7].problem
    assert sum(answer.num_tokens for answer in answers) == 19 * 3 and len(server.batches.all) == 1


@pytest.mark.parametrize("body", [None, {}, {"choices": None, "usage": {"completion_tokens": 5}}, "text", [1]])
def test_an_answer_of_a_batch_that_can_not_be_read_costs_its_text_and_no_other(server, monkeypatch, body):
    usual = server.batches._usual

    def odd(path, asked):
        return body if asked["messages"][-1]["content"].endswith("1") else usual(path, asked)

    server.batches._usual = odd
    answers = written(batch_writer(server), requests(3, n=1))
    assert [bool(answer.texts[0]) for answer in answers] == [True, False, True] and answers[1].problem
    assert answers[1].num_tokens == (5 if isinstance(body, dict) and body else 0)


@pytest.mark.parametrize("line", ["no json", "[1]", '{"response": 3}', '{"custom_id": "x"}', '{"custom_id": "77"}'])
def test_a_line_that_can_not_be_read_is_asked_again_alone(server, monkeypatch, line):
    finish = type(server.batches)._finish

    def spoil(batches, batch):
        finish(batches, batch)
        if len(batches.all) == 1:
            lines = batches._files[batch["output_file_id"]].splitlines()
            batches._files[batch["output_file_id"]] = "\n".join([line, *lines[1:]])

    monkeypatch.setattr(type(server.batches), "_finish", spoil)
    assert written(batch_writer(server), requests(3)) == written(writer_at(server), requests(3))
    assert [line["custom_id"] for line in server.batches.requests(1)] == ["2"]


def test_a_batch_of_which_all_requests_are_wrong_ends_in_one_line(server):
    error = (400, {"message": f"no such\nmodel {KEY}", "code": "model_not_found"})
    server.batches.fails = {str(at): error for at in range(3)}
    with pytest.raises(RuntimeError, match="answered 400 in a batch: no such model") as caught:
        written(batch_writer(server), requests(3))
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)
    # When its cause is mended, the same requests are asked anew.
    assert written(batch_writer(server), requests(3)) == written(writer_at(server), requests(3))


def test_a_failed_batch_says_why_and_is_submitted_anew_the_next_time(server):
    server.batches.ends, server.batches.why = ["failed"], {"code": "invalid_model", "message": "no such model"}
    with pytest.raises(RuntimeError, match=r"failed batch batch-0: no such model"):
        written(batch_writer(server), requests(2))
    assert written(batch_writer(server), requests(2)) == written(writer_at(server), requests(2))
    assert len(server.batches.all) == 2


def test_a_batch_for_which_there_is_no_room_waits_and_is_submitted_again(server):
    server.batches.ends = ["failed", "failed"]
    assert written(batch_writer(server), requests(2)) == written(writer_at(server), requests(2))
    assert [batch["status"] for batch in server.batches.all] == ["failed", "failed", "completed"]


def test_a_batch_that_is_refused_for_want_of_room_when_it_is_created_waits_too(server):
    full = (400, {}, {"error": {"message": "Enqueued token limit reached", "code": "token_limit_exceeded"}})
    nothing = (200, {}, {"object": "list", "data": [], "has_more": False})
    file = {"id": "f", "object": "file", "bytes": 0, "created_at": 0, "filename": "f", "purpose": "batch"}
    server.faults = [nothing, (200, {}, file), full]
    assert written(batch_writer(server), requests(2)) == written(writer_at(server), requests(2))
    assert len(server.batches.all) == 1


def test_a_batch_for_which_there_never_is_room_ends_in_the_endpoints_words(server, monkeypatch):
    monkeypatch.setattr(openai_batches, "LONGEST_BATCH_S", 0.8)
    server.batches.ends = ["failed"] * 50
    with pytest.raises(RuntimeError, match="failed batch batch-[0-9]+: too many tokens"):
        written(batch_writer(server), requests(2))
    assert 2 <= len(server.batches.all) < 50


def test_a_batch_is_not_created_twice_if_the_answer_gets_lost(server):
    writer = batch_writer(server)
    # To the search, the upload and the creation.
    server.faults += [
        (200, {}, {"object": "list", "data": [], "has_more": False}),
        (200, {}, {"id": "file-x", "object": "file", "bytes": 0, "created_at": 0, "filename": "f", "purpose": "batch"}),
        (503, {}, {"error": {"message": "overloaded"}}),
    ]
    with pytest.raises(RuntimeError, match="answered 503"):
        written(writer, requests(2))
    assert len([path for path, _, _ in server.requests if path == "/v1/batches"]) == 1


def test_a_unit_must_be_given_the_time_of_a_batch():
    options = {"base_url": "https://api.example/v1", "batch": True}
    engines = {"writer": {"kind": "openai", "model": "m", "options": options}}
    with pytest.raises(ConfigError, match=r"runtime\.unit_timeout_s: is 1800, but a batch .* 90000"):
        check_engines(config_with(runtime={"engines": engines}))
    check_engines(config_with(runtime={"engines": engines, "unit_timeout_s": 90_000}))
