"""Texts are cut to what the renderer reads before anybody votes on them, and counted."""

from spti_ray.config.identity import config_sha256
from spti_ray.public.fallbacks import FallbackCounts
from spti_ray.public.population import Population
from spti_ray.public.text_limit import TextLimit
from spti_ray.types import Completions
from tests.tiny_pipelines import CLIP_TOKENS, save_stable_diffusion

LONG = "a red cat on the mat with a blue bird and a green dog of the house"


class Says:
    """A writer of one short and many long texts."""

    def write(self, requests):
        for number, _ in enumerate(requests):
            letter = "abcdefghijklmnopqrstuvwxyz"[number]
            yield Completions((f"a {letter} toy" if number == 0 else f"a {letter} toy and {LONG}",))


def settings(make_config, tmp_path, **more):
    save_stable_diffusion(tmp_path / "sd")
    renderer = {"kind": "diffusers", "model": str(tmp_path / "sd")}
    words = {"prompts__max_words": 40, "prompts__min_words": 2, "evolution__candidates": 4}
    return make_config(runtime__engines={"renderer": renderer}, **words, **more)


def test_the_text_that_votes_is_the_text_that_is_rendered(make_config, tmp_path):
    config = settings(make_config, tmp_path)
    limit, written = TextLimit.of(config), FallbackCounts()
    population = Population(config, Says(), written, limit=limit)
    candidates = sorted(population.random_api(), key=lambda candidate: candidate.id)
    assert limit.tokens == CLIP_TOKENS and all(limit.count(candidate.text) <= limit.tokens for candidate in candidates)
    assert [candidate.is_cut for candidate in candidates] == [False, True, True, True]
    assert candidates[1].text.startswith("a b toy and a red cat") and not candidates[1].text.endswith((" a", " and"))
    population.count(0, candidates, ())
    assert written.document() == {"0": {"asked": 4, "fallbacks": 0, "cut": 3}}
    (line,) = written.cut_lines()
    assert line.startswith("texts: 3 of 4 (75.0 %) were cut")
    assert FallbackCounts.from_document(written.document()).counts == written.counts


def test_without_a_limit_texts_stay_whole_and_what_the_encoder_cuts_is_counted(make_config, tmp_path):
    config = settings(make_config, tmp_path, prompts__max_tokens_rendered="none")
    written = FallbackCounts()
    population = Population(config, Says(), written, limit=TextLimit.of(config))
    candidates = list(population.random_api())
    assert sum(candidate.text.endswith("the house") for candidate in candidates) == 3
    population.count(0, candidates, ())
    assert written.total.cut == 3


def test_a_renderer_that_nobody_here_can_count_for_cuts_nothing(make_config):
    assert TextLimit.of(make_config()) is None


def test_a_run_that_began_without_the_limit_keeps_its_hash(make_config):
    from spti_ray.config.identity import as_stored, resolved

    config = make_config()
    stored = resolved(config)
    del stored["prompts"]["max_tokens_rendered"]
    before = as_stored(config, stored)
    assert before.prompts.max_tokens_rendered == "none"
    assert config_sha256(before) == config_sha256(make_config(prompts__max_tokens_rendered="none"))
