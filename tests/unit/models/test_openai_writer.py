"""The writer behind an OpenAI-compatible endpoint, against a small local server: patience, limits, costs, keys."""

import asyncio
import itertools
import traceback

import pytest

from spti_ray.config import EngineConfig
from spti_ray.models.endpoint import SEED_LIMIT
from spti_ray.models.endpoint_answers import read_answer
from spti_ray.models.endpoint_options import Prices, price
from spti_ray.models.engine_process import engine_environment
from spti_ray.models.factory import build_engine, engines_config
from spti_ray.models.rate_limits import duration_s, pause_after
from spti_ray.types import WriteRequest
from tests.openai_server import KEY, openai_server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("WRITER_KEY", KEY)
    with openai_server() as server:
        yield server


def writer_at(server, **options):
    options = {"base_url": server.url, "api_key_env": "WRITER_KEY"} | options
    return build_engine("writer", EngineConfig(kind="openai", model="m", options=options))


def requests(count=3, n=2, **more):
    return [WriteRequest(f"Texts.\nThing {i}", n, (1 << 62) + i, 16, **more) for i in range(count)]


def written(writer, asked):
    return asyncio.run(writer.write(asked))


LIMITED = (429, {"retry-after": "0.3"}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}})
BROKEN = (503, {"retry-after": "0.01"}, {"error": {"message": "overloaded"}})


def test_answers_are_in_order_and_counted(server):
    writer = writer_at(server, prices={"input": 2.0, "cached_input": 0.5, "output": 8.0})
    answers = written(writer, requests())
    assert [answer.texts for answer in answers] == [(f"Thing {i} 0", f"Thing {i} 1") for i in range(3)]
    assert [answer.num_tokens for answer in answers] == [6, 6, 6]
    # 6 new and 4 cached tokens of the prompt, 6 written.
    assert sum(answer.dollars for answer in answers) == pytest.approx(3 * (6 * 2.0 + 4 * 0.5 + 6 * 8.0) / 1e6)
    usage = writer.usage()
    assert (usage["requests"], usage["prompt_tokens"], usage["generation_tokens"]) == (3, 30, 18)
    assert usage["dollars"] == pytest.approx(sum(answer.dollars for answer in answers))
    assert usage["repeated"] == 0
    assert writer.identity() == {"kind": "openai", "model": "m", "revision": "as served"}


def test_the_request_says_what_was_asked_and_nothing_that_is_left_out(server):
    asked = [WriteRequest("Texts.\nText (2 words): a kite\nText (3 words):", 2, 1 << 62, 16, 0.7, 0.9, ("\n",))]
    written(writer_at(server), asked)
    written(writer_at(server, leave_out=["seed", "top_p"], extra={"safe_mode": True}), asked)
    written(writer_at(server, prompt_format="few-shot-chat"), asked)
    (_, plain, _), (_, less, _), (_, turns, _) = server.requests
    seed = (1 << 62) % SEED_LIMIT
    assert plain == {
        "model": "m", "n": 2, "seed": seed, "temperature": 0.7, "top_p": 0.9, "max_tokens": 16, "stop": ["\n"],
        "messages": [{"role": "user", "content": asked[0].prompt}],
    }  # fmt: skip
    assert less == {key: value for key, value in plain.items() if key not in ("seed", "top_p")} | {"safe_mode": True}
    assert [turn["role"] for turn in turns["messages"]] == ["user", "assistant", "user"]


def test_base_models_get_the_plain_prompt(server):
    writer = writer_at(server, prompt_format="completion")
    assert written(writer, [WriteRequest("a prompt", 1, 1, 8)])[0].texts == ("a prompt 0",)
    assert server.requests[0][0] == "/v1/completions"


def test_no_more_requests_are_under_way_than_allowed(server):
    server.delay_s = 0.05
    writer = writer_at(server, max_concurrent=3)

    async def two_units():
        await asyncio.gather(writer.write(requests(5)), writer.write(requests(4)))

    asyncio.run(two_units())
    assert len(server.requests) == 9 and server.most_at_once == 3


def test_a_rate_limit_is_waited_for_by_all_requests_of_the_process(server):
    server.faults = [LIMITED]
    writer = writer_at(server, max_concurrent=1)
    assert len(written(writer, requests(3))) == 3
    gaps = [after - before for before, after in itertools.pairwise(server.times)]
    assert len(server.times) == 4 and gaps[0] >= 0.3
    assert writer.usage()["repeated"] == 1


def test_nothing_is_sent_while_headers_say_that_nothing_is_left(server):
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
    server.faults = [(200, spent, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}]})]
    writer = writer_at(server, max_concurrent=1)
    written(writer, requests(2, n=1))
    assert server.times[1] - server.times[0] >= 0.25
    assert writer.usage()["paused_s"] >= 0.2 and writer.usage()["repeated"] == 0


def test_a_server_that_stumbles_is_asked_again_and_one_that_stays_down_is_told_in_one_line(server):
    server.faults = [BROKEN, BROKEN]
    assert len(written(writer_at(server), requests(1))) == 1
    server.faults = [BROKEN] * 3
    with pytest.raises(RuntimeError, match=r"^http://127[^\n]* answered 503: overloaded$"):
        written(writer_at(server, max_retries=2), requests(1))


def test_a_request_that_the_filter_refuses_gets_no_text_and_harms_no_other(server):
    server.faults = [(400, {}, {"error": {"message": "not nice", "code": "content_filter"}})]
    answers = written(writer_at(server, max_concurrent=1), requests(2))
    assert sorted(answer.texts[0] for answer in answers)[0] == "" and len(server.requests) == 2
    assert sum(any(answer.texts) for answer in answers) == 1


def test_a_wrong_request_is_not_repeated(server):
    server.faults = [(400, {}, {"error": {"message": "no such thing as top_k", "code": "bad"}})]
    with pytest.raises(RuntimeError, match="answered 400: no such thing as top_k"):
        written(writer_at(server), requests(1))
    assert len(server.requests) == 1


def choices(*contents, finish_reason="stop", **message):
    return [
        {"index": i, "finish_reason": finish_reason, "message": {"role": "assistant", "content": content} | message}
        for i, content in enumerate(contents)
    ]


USAGE = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
PARTS = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a red"}, {"type": "text", "text": " kite"}]


@pytest.mark.parametrize(
    ("body", "texts", "tokens", "problem"),
    [
        ({"choices": [], "usage": USAGE}, ("", ""), 7, "gave 0 texts where 2 were asked for"),
        ({"choices": choices("a kite"), "usage": USAGE}, ("a kite", ""), 7, "gave 1 texts where 2 were asked for"),
        ({"choices": None, "usage": USAGE}, ("", ""), 7, "gave 0 texts"),
        ({"choices": choices(PARTS, "a dog"), "usage": None}, ("a red kite", "a dog"), 0, ""),
        ({"choices": choices(None, "a dog"), "usage": USAGE}, ("", "a dog"), 7, "an empty answer (finish_reason stop)"),
        ({"choices": [None, 3], "usage": USAGE}, ("", ""), 7, "gave a choice that can't be read"),
        ({"choices": choices("a kite", "a dog"), "usage": dict.fromkeys(USAGE)}, ("a kite", "a dog"), 0, ""),
        ({"choices": choices("a", "b"), "usage": {"completion_tokens": "3", "total_tokens": -4}}, ("a", "b"), 0, ""),
        # Reasoning that the endpoint leaves out of completion_tokens.
        ({"choices": choices("a", "b"), "usage": USAGE | {"total_tokens": 300}}, ("a", "b"), 290, ""),
        ({"error": {"message": "upstream is down"}}, ("", ""), 0, "upstream is down"),
        ({"choices": choices("I'm sorry, but I can't.", "a sorry-looking dog"), "usage": USAGE},
         ("", "a sorry-looking dog"), 7, "gave no text (finish_reason stop) but: I'm sorry, but I can't."),
        ({"choices": choices("a kite", "a dog", refusal="I won't"), "usage": USAGE}, ("", ""), 7, "refused: I won't"),
        ({"choices": choices("a ki", "a red do", finish_reason="length"), "usage": USAGE}, ("", ""), 7, "length"),
        ({"choices": choices("a kite\nNew: a do", "a dog\n", finish_reason="length"), "usage": USAGE},
         ("a kite", "a dog"), 7, ""),
        ({"choices": choices("a kite", "a dog", finish_reason="content_filter"), "usage": USAGE},
         ("", ""), 7, "content_filter"),
        ({"choices": choices(None, None, reasoning_content="The user", finish_reason="length"), "usage": USAGE},
         ("", ""), 7, "gave nothing but reasoning (finish_reason length)"),
        ({"choices": choices("<think>hm</think>\n\na kite", "Okay, the user wants a"), "usage": USAGE},
         ("\n\na kite", ""), 7, "Okay, the user wants a"),
        ([], ("", ""), 0, "gave 0 texts"),
        (None, ("", ""), 0, "gave 0 texts"),
    ],
)  # fmt: skip
def test_one_bad_answer_costs_its_own_texts_and_is_counted(server, body, texts, tokens, problem):
    server.faults = [(200, {}, body)]
    writer = writer_at(server, max_concurrent=1, prices={"output": 1e6})
    answers = written(writer, requests(3))
    odd = next(answer for answer in answers if "Thing" not in "".join(answer.texts))
    assert odd.texts == texts and problem in odd.problem and bool(odd.problem) == bool(problem)
    assert odd.num_tokens == odd.dollars == tokens
    assert writer.usage()["generation_tokens"] == tokens + 2 * 6 == writer.usage()["dollars"]
    assert len(server.requests) == 3, "nothing is asked again here"


@pytest.mark.parametrize(
    "fault",
    [
        (400, {}, {"error": {"message": "max_tokens is too small", "code": "invalid_value"}}),
        (400, {}, {"error": {"message": "Invalid prompt: flagged", "code": "invalid_prompt"}}),
        (403, {}, {"error": {"message": "Input flagged", "code": 403, "metadata": {"reasons": ["violence"]}}}),
        (403, {}, {"error": {"message": "Content violates usage guidelines."}}),
        (422, {}, {"error": {"message": "no"}}),
        (400, {}, {"error": {"message": "bad \ud800 \x1b]0;title\x07 \x1b[31mred \u202ekite"}}),
        (200, {}, {"error": {"message": "bad \ud800 \x1b[31mred"}}),
        (200, {}, {"choices": [{"finish_reason": "content_filter \x1b[1m\udfff", "message": {"content": ""}}]}),
        (200, {"content-type": "text/html"}, "<html>"),
        (200, {}, "[" * 100_000),
    ],
)
def test_one_request_of_twenty_that_fails_costs_its_own_text(server, fault):
    server.faults = [fault]
    answers = written(writer_at(server, max_concurrent=1), requests(20, n=1))
    missing = [answer for answer in answers if not answer.texts[0]]
    assert len(missing) == 1 and missing[0].problem.startswith("http://127") and "the key" not in missing[0].problem
    assert missing[0].problem.isprintable() and missing[0].problem.encode()
    assert sum(answer.num_tokens for answer in answers) == 19 * 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"message": "blocked by moderation"}),
        (400, {"message": "flagged", "code": "invalid_prompt"}),
        (400, {"message": "no", "code": "content_filter"}),
        (400, {"message": "no", "type": "data_inspection_failed"}),
    ],
)
def test_requests_that_all_fail_for_what_they_say_are_no_failure_of_the_endpoint(server, status, error):
    server.faults = [(status, {}, {"error": error})] * 2
    answers = written(writer_at(server), requests(2, n=1))
    assert [answer.texts for answer in answers] == [("",), ("",)] and error["message"] in answers[0].problem


def test_a_key_with_signs_in_between_that_are_not_shown_is_not_repeated_either(server):
    server.faults = [(400, {}, {"error": {"message": f"bad {KEY[:9]}\x07{KEY[9:]}"}})]
    with pytest.raises(RuntimeError, match=r"answered 400: bad \[key\]$"):
        written(writer_at(server), requests(1))


FILTERED = (
    "refusal blocklist content_filtered spii image_safety safety prohibited_content recitation content_filter error "
    "image_prohibited_content image_recitation model_armor guardrail_intervened"
)


@pytest.mark.parametrize("reason", FILTERED.split())
def test_what_a_filter_ended_is_no_text_however_its_reason_is_written(reason):
    for written_as in (reason, reason.upper()):
        answer = read_answer({"choices": choices("a red kite", finish_reason=written_as)}, 1)
        assert answer.texts == ("",) and f"finish_reason {reason}" in answer.problem
    assert read_answer({"choices": choices("a red kite", finish_reason="STOP")}, 1).texts == ("a red kite",)


def test_half_of_a_surrogate_pair_in_a_text_is_a_question_mark(server):
    server.faults = [(200, {}, {"choices": choices("a \ud800 kite", "I'm sorry, but I can't \udfff"), "usage": USAGE})]
    (answer,) = written(writer_at(server), requests(1))
    assert answer.texts == ("a ? kite", "") and answer.problem.endswith("I can't ?")


def test_a_key_that_is_refused_in_between_is_told_as_that_and_not_repeated(server):
    server.faults = [(403, {}, {"error": {"message": f"key {KEY} may not use this model"}})] * 2
    with pytest.raises(RuntimeError, match=r"refuses the key in \$WRITER_KEY \(status 403\)") as caught:
        written(writer_at(server), requests(2))
    assert "canary" not in str(caught.value)


def test_a_redirect_is_not_followed(server):
    with openai_server() as elsewhere:
        server.faults = [(307, {"location": f"{elsewhere.url}/chat/completions"}, {})]
        with pytest.raises(RuntimeError, match="answered 307"):
            written(writer_at(server), requests(1))
        assert elsewhere.requests == []


def test_a_key_that_is_missing_or_refused_ends_it_at_once_and_is_never_repeated(server, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", "sk-another-canary-42")
    with pytest.raises(ValueError) as refused:
        writer_at(server)
    monkeypatch.delenv("WRITER_KEY")
    with pytest.raises(ValueError) as missing:
        writer_at(server)
    with pytest.raises(ValueError) as none:
        writer_at(server, api_key_env=None)
    assert "refuses the key in $WRITER_KEY (status 401)" in str(refused.value)
    assert "WRITER_KEY" in str(missing.value) and "is not set" in str(missing.value)
    assert "refuses requests without a key" in str(none.value)
    for error in (refused, missing, none):
        assert "\n" not in str(error.value)
        assert "canary" not in "".join(traceback.format_exception(error.value))


def test_an_error_that_quotes_the_key_is_told_without_it(server):
    server.faults = [(400, {}, {"error": {"message": f"I do not like {KEY}"}})]
    with pytest.raises(RuntimeError) as caught:
        written(writer_at(server), requests(1))
    assert "I do not like [key]" in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_nobody_there_is_told_in_one_line(server):
    server.stop()
    with pytest.raises(ValueError, match=r"^http://127[^\n]* can't be reached"):
        writer_at(server, max_retries=0)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"base_url": "https://user:hush-hush@host/v1"}, "base_url"),
        ({"base_url": "https://host/v1?key=hush-hush"}, "base_url"),
        ({"base_url": "ftp://host/v1"}, "base_url"),
        ({"base_url": "http://host:port/v1"}, "base_url"),
        ({"base_url": "https://host/v1", "api_key_env": "sk-hush-hush"}, "api_key_env"),
        ({"base_url": "https://host/v1", "api_key": "sk-hush-hush"}, "api_key"),
        ({"base_url": "https://host/v1", "prices": {"input": -1}}, "prices.input"),
        ({}, "base_url"),
    ],
)
def test_a_configuration_with_a_key_in_it_is_refused_without_repeating_it(options, key):
    with pytest.raises(ValueError) as caught:
        engines_config({"writer": {"kind": "openai", "model": "m", "options": options}})
    assert str(caught.value).startswith(f"runtime.engines.writer.options.{key}: ")
    assert "hush-hush" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1s", 1), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("7", 7), ("0.5", 0.5), ("soon", 0), ("", 0)],
)
def test_durations_of_rate_limit_headers(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


def test_a_pause_is_the_longest_that_headers_ask_for():
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"}
    both = spent | {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6s"}
    left = spent | {"x-ratelimit-remaining-requests": "1"}
    assert [pause_after(200, headers) for headers in (spent, both, left, {})] == [2, 6, 0, 0]
    assert pause_after(429, {"retry-after": "9"} | both) == 9
    assert pause_after(200, {"retry-after": "9"}) == 0
    assert pause_after(429, {"retry-after": "100000"}) == 0, "such a request is given up, not waited for"


def test_without_a_price_of_its_own_cached_input_costs_as_other_input():
    assert price(Prices(input=2.0, output=3.0), 1_000_000, 400_000, 2_000_000) == 8.0
    assert price(Prices(input=2.0, cached_input=0.0, output=3.0), 1_000_000, 400_000, 0) == pytest.approx(1.2)


def test_the_key_is_not_put_into_the_environment_that_ray_is_told_of(monkeypatch):
    monkeypatch.setenv("WRITER_KEY", KEY)
    options = {"base_url": "https://host/v1", "api_key_env": "WRITER_KEY"}
    assert KEY not in str(engine_environment("writer", EngineConfig(kind="openai", model="m", options=options)))
