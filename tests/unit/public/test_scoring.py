import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from spti_ray.errors import NothingMade
from spti_ray.public import scoring as module
from spti_ray.public.population import Population
from spti_ray.public.render_jobs import render_seed
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.types import Candidate, Selected

TEXTS = ("a red cat", "a blue car", "a pink kite", "a green apple", "a brown dog", "a gray train", "a black drum")


def candidates(count: int = 7) -> list[Candidate]:
    return [Candidate(f"g00-{i:06d}", TEXTS[i], "all", 0) for i in range(count)]


def no_variations(points, count):
    raise AssertionError("lookahead is off")


def scoring(config, engines, variations=no_variations, cache=None) -> Scoring:
    return Scoring(config, engines, variations, cache or ScoreCache())


def image_row(engines_class, text: str, candidate_id: str, run_seed: int = 0):
    """The embedding of one candidate's render, made on its own."""
    engines = engines_class()
    image = engines._renderer.render([text], [render_seed(run_seed, candidate_id, 0)])[0]
    return engines._image_embedder.embed_images([image])[0]


def text_row(engines_class, text: str):
    return engines_class()._text_embedder.embed_texts([text])[0]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_image_voting_embeds_each_candidates_own_render(make_config, local_engines, batch_size):
    engines = local_engines(batch_size)
    scored = scoring(make_config(runtime__seed=3), engines).embed(candidates())
    assert scored.weights == {"image": 1.0} and set(scored.embeddings_KE) == {"image"}
    for candidate, row_E in zip(scored.candidates, scored.embeddings_KE["image"], strict=True):
        np.testing.assert_allclose(row_E, image_row(local_engines, candidate.text, candidate.id, 3), atol=1e-6)
    assert scored.embeddings_KE["image"].dtype == np.float32
    assert engines.texts == []


def test_caption_voting_embeds_the_texts_and_renders_nothing(make_config, local_engines):
    engines = local_engines()
    scored = scoring(make_config(evolution__voting="caption"), engines).embed(candidates())
    assert set(scored.embeddings_KE) == {"text"}
    for candidate, row_E in zip(scored.candidates, scored.embeddings_KE["text"], strict=True):
        np.testing.assert_allclose(row_E, text_row(local_engines, candidate.text), atol=1e-6)
    assert engines.render_jobs == [] and engines.images == []


def test_joint_voting_gives_two_spaces_with_their_weights(make_config, local_engines):
    engines = local_engines()
    config = make_config(evolution__voting="joint", evolution__joint_image_weight=0.75)
    scored = scoring(config, engines).embed(iter(candidates()))
    assert scored.weights == {"image": 0.75, "text": 0.25}
    assert {space: len(rows) for space, rows in scored.embeddings_KE.items()} == {"image": 7, "text": 7}
    assert len(engines.render_jobs) == 7 and engines.texts == list(TEXTS)


def test_rows_are_in_id_order_whatever_the_order_of_the_stream(make_config, local_engines):
    shuffled = [candidates()[i] for i in (4, 0, 6, 2, 1, 5, 3)]
    one = scoring(make_config(), local_engines()).embed(shuffled)
    other = scoring(make_config(), local_engines(2)).embed(candidates())
    assert one.sha256() == other.sha256()


def test_survivors_are_never_rendered_or_embedded_twice(make_config, local_engines):
    config = make_config(evolution__voting="joint")
    engines = local_engines()
    population = Population(config, engines)
    scores = scoring(config, engines, population.variations)
    first = scores.embed(population.random_api())
    survivors = [Selected(candidate, 1, 1) for candidate in list(first.candidates)[:5]]
    second = scores.embed(population.variation_api(1, survivors))
    third = scores.embed(population.variation_api(2, survivors))
    fresh = 12 + 2 * (12 - 5)
    assert len(engines.render_jobs) == len(engines.images) == len(engines.texts) == fresh
    assert len({job.seed for job in engines.render_jobs}) == fresh
    for space in ("image", "text"):
        for later in (second, third):
            rows = dict(zip([c.id for c in later.candidates], later.embeddings_KE[space], strict=True))
            for candidate, row_E in zip(first.candidates, first.embeddings_KE[space], strict=True):
                if candidate.id in rows:
                    np.testing.assert_array_equal(rows[candidate.id], row_E)


def test_a_population_that_is_known_already_costs_nothing(make_config, local_engines):
    engines = local_engines()
    scores = scoring(make_config(), engines)
    before = scores.embed(candidates()).sha256()
    engines.render_jobs.clear()
    assert scores.embed(candidates()).sha256() == before and engines.render_jobs == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.sets(st.integers(0, 6), max_size=6), st.integers(1, 8))
def test_a_failed_render_becomes_a_nan_row_and_shifts_no_other(make_config, local_engines, failing, batch_size):
    bad = {TEXTS[i] for i in failing}
    engines = local_engines(batch_size, unrenderable=lambda job: job.text in bad)
    scores = scoring(make_config(), engines)
    rows_KE = scores.embed(candidates()).embeddings_KE["image"]
    for i, candidate in enumerate(candidates()):
        if i in failing:
            assert np.isnan(rows_KE[i]).all()
            assert candidate.id not in scores.cache.renders
        else:
            np.testing.assert_allclose(rows_KE[i], image_row(local_engines, candidate.text, candidate.id), atol=1e-6)


def test_a_failed_embedding_becomes_a_nan_row_and_shifts_no_other(make_config, local_engines):
    class Flaky(local_engines):
        def embed_images(self, images):
            for i, row in enumerate(super().embed_images(images)):
                yield None if i in (0, 3, 5) else row

    # One render fails as well: the failed embeddings are then those of candidates 0, 4 and 6.
    engines = Flaky(2, unrenderable=lambda job: job.text == TEXTS[1])
    rows_KE = scoring(make_config(), engines).embed(candidates()).embeddings_KE["image"]
    assert np.isnan(rows_KE).any(axis=1).tolist() == [True, True, False, False, True, False, True]
    np.testing.assert_allclose(rows_KE[5], image_row(local_engines, TEXTS[5], "g00-000005"), atol=1e-6)


def test_in_joint_voting_a_failed_render_leaves_the_text_row(make_config, local_engines):
    engines = local_engines(unrenderable=lambda job: job.text == TEXTS[2])
    scored = scoring(make_config(evolution__voting="joint"), engines).embed(candidates())
    assert np.isnan(scored.embeddings_KE["image"][2]).all()
    assert not np.isnan(scored.embeddings_KE["text"]).any()


def test_when_nothing_can_be_embedded_the_run_stops_and_says_so(make_config, local_engines):
    with pytest.raises(NothingMade, match="no candidate could be embedded in the image space"):
        scoring(make_config(), local_engines(unrenderable=lambda job: True)).embed(candidates())


def fixed_variations(points, count):
    for point in points:
        for i in range(count):
            text = TEXTS[(TEXTS.index(point.text) + i + 1) % 7]
            yield Candidate(f"{point.id}+{i:02d}", text, point.label, 0, point.id, "rephrase")


def normalised(row_E):
    return row_E / np.linalg.norm(row_E)


@pytest.mark.parametrize("voting", ["image", "caption", "joint"])
def test_lookahead_votes_on_the_mean_of_the_variations(make_config, local_engines, voting):
    engines = local_engines(5)
    config = make_config(evolution__voting=voting, evolution__lookahead=3)
    scored = scoring(config, engines, fixed_variations).embed(candidates(4))
    assert len(scored.candidates) == 4
    for i, candidate in enumerate(scored.candidates):
        texts = [TEXTS[(i + n + 1) % 7] for n in range(3)]
        if "image" in scored.weights:
            rows = [image_row(local_engines, text, f"{candidate.id}+{n:02d}") for n, text in enumerate(texts)]
            np.testing.assert_allclose(scored.embeddings_KE["image"][i], normalised(np.mean(rows, axis=0)), atol=1e-6)
        if "text" in scored.weights:
            rows = [text_row(local_engines, text) for text in texts]
            np.testing.assert_allclose(scored.embeddings_KE["text"][i], normalised(np.mean(rows, axis=0)), atol=1e-6)
    assert len(engines.render_jobs) == (12 if "image" in scored.weights else 0)
    assert len(engines.texts) == (12 if "text" in scored.weights else 0)


def test_lookahead_averages_over_the_variations_that_could_be_rendered(make_config, local_engines):
    engines = local_engines(unrenderable=lambda job: job.text in TEXTS[1:4] and job.text != TEXTS[2])
    scored = scoring(make_config(evolution__lookahead=2), engines, fixed_variations).embed(candidates(3))
    rows_KE = scored.embeddings_KE["image"]
    # Candidate 0 stands on texts 1, 2; candidate 1 on 2, 3; candidate 2 on 3, 4. Texts 1 and 3 can't be rendered.
    np.testing.assert_allclose(rows_KE[0], image_row(local_engines, TEXTS[2], "g00-000000+01"), atol=1e-6)
    np.testing.assert_allclose(rows_KE[1], image_row(local_engines, TEXTS[2], "g00-000001+00"), atol=1e-6)
    np.testing.assert_allclose(rows_KE[2], image_row(local_engines, TEXTS[4], "g00-000002+01"), atol=1e-6)


def test_lookahead_makes_no_new_variations_for_survivors(make_config, local_engines):
    made: Counter[str] = Counter()

    def counted(points, count):
        for point in fixed_variations(points, count):
            made[point.parent_id] += 1
            yield point

    scores = scoring(make_config(evolution__lookahead=2), local_engines(), counted)
    scores.embed(candidates(4))
    scores.embed(candidates(6))
    assert set(made.values()) == {2} and len(made) == 6


def test_every_row_has_length_one(make_config, local_engines):
    scored = scoring(make_config(evolution__voting="joint"), local_engines()).embed(candidates())
    for rows_KE in scored.embeddings_KE.values():
        np.testing.assert_allclose(np.linalg.norm(rows_KE, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("voting", ["image", "joint", "caption"])
def test_texts_are_rendered_and_embedded_while_later_ones_are_still_written(make_config, local_engines, voting):
    engines = local_engines(2)
    done_before: list[int] = []

    def stream():
        for candidate in candidates():
            done_before.append(len(engines.images) + len(engines.texts))
            yield candidate

    scoring(make_config(evolution__voting=voting), engines).embed(stream())
    assert done_before == sorted(done_before) and done_before[0] == 0 and done_before[-1] >= 2


def test_voted_renders_are_kept_with_the_seed_that_made_them(make_config, local_engines):
    scores = scoring(make_config(runtime__seed=9), local_engines())
    scores.embed(candidates())
    assert set(scores.cache.renders) == {candidate.id for candidate in candidates()}
    for candidate in candidates():
        render = scores.cache.renders[candidate.id]
        assert (render.candidate_id, render.variant) == (candidate.id, 0)
        assert render.seed == render_seed(9, candidate.id, 0)
        expected = local_engines()._renderer.render([candidate.text], [render.seed])[0]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(render.png))), expected)


def test_every_image_has_a_seed_of_its_own():
    seeds = {render_seed(run, f"g00-{i:06d}", variant) for run in (0, 1) for i in range(20) for variant in range(5)}
    assert len(seeds) == 200


@pytest.mark.parametrize(("voting", "lookahead"), [("image", 0), ("joint", 0), ("caption", 2)])
def test_blocks_are_shown_as_soon_as_they_are_full_and_survivors_among_them(
    make_config, local_engines, monkeypatch, voting, lookahead
):
    monkeypatch.setattr(module, "_LEAST_BLOCK", 3)
    config = make_config(evolution__voting=voting, evolution__lookahead=lookahead)
    engines = local_engines(2, unrenderable=lambda job: job.text == TEXTS[1])
    scores = scoring(config, engines, fixed_variations)
    scores.embed(candidates(2))
    shown: list = []
    asked: list[int] = []

    def stream():
        for candidate in candidates():
            asked.append(len(shown))
            yield candidate

    whole = scores.embed(stream(), shown.append)
    rows = {item.id: i for i, item in enumerate(whole.candidates)}
    assert shown and (voting == "joint" or asked[-1] > 0), "before the last candidate was asked for"
    seen = [item.id for block in shown for item in block.candidates]
    assert len(set(seen)) == len(seen) and all(len(block.candidates) == 3 for block in shown)
    assert "g00-000000" in seen and (voting == "caption" or "g00-000001" not in seen), "what has no row is not shown"
    for block in shown:
        assert block.weights == whole.weights
        for space, matrix_KE in block.embeddings_KE.items():
            at = [rows[item.id] for item in block.candidates]
            np.testing.assert_array_equal(matrix_KE, whole.embeddings_KE[space][at])
