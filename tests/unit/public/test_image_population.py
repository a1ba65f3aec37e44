"""Private Evolution on images: what its candidates are, and what defines each of their images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.errors import NothingMade
from spti_ray.models.pixels import from_png, to_png
from spti_ray.public.engines import RenderJob
from spti_ray.public.image_population import ImagePopulation
from spti_ray.public.render_jobs import Recipes, batches_of, check_varies, render_batch
from spti_ray.public.scoring import ScoreCache, Scoring
from spti_ray.types import Candidate, RenderedImage, Selected

LABELS = [{"name": "cat", "share": 2}, {"name": "car", "share": 1, "hint": "a racing car"}]
STRENGTHS = {"first_strength": 0.9, "last_strength": 0.3}


def images(make_config, **changes):
    return make_config(method="pe-image", evolution__image_variation=STRENGTHS, **changes)


def parts(config, engines):
    population, cache = ImagePopulation(config), ScoreCache()
    return population, Scoring(config, engines, population.variations, cache, are_images=True), cache


def test_generation_0_is_prompted_with_public_attribute_values_and_no_language_model(make_config, local_engines):
    engines = local_engines()
    config = images(make_config)
    population, scoring, _ = parts(config, engines)
    scored = scoring.embed(population.random_api())
    assert len(scored.candidates) == 12 and engines.requests == [] and engines.texts == []
    for candidate in scored.candidates:
        subject, colour = candidate.text.split()
        assert subject in config.prompts.attributes["subject"] and colour in config.prompts.attributes["color"]
        assert candidate.operator == "random" and candidate.parent_id is None
    assert all(job.image is None for job in engines.render_jobs)


def test_each_label_gets_its_quota_and_is_named_in_its_prompts(make_config):
    everyone = list(ImagePopulation(images(make_config, evolution__labels=LABELS)).random_api())
    assert [c.label for c in everyone] == ["cat"] * 8 + ["car"] * 4
    assert all("cat" in c.text for c in everyone[:8]) and all("a racing car" in c.text for c in everyone[8:])


def test_children_are_variations_of_their_parents_renders_with_falling_strength(make_config, local_engines):
    engines = local_engines()
    config = images(make_config, evolution__generations=4)
    population, scoring, cache = parts(config, engines)
    scored = scoring.embed(population.random_api())
    for generation, strength in ((1, 0.9), (2, 0.6), (3, 0.3)):
        selected = tuple(Selected(candidate, 1, 1) for candidate in list(scored.candidates)[:4])
        origins = {item.candidate.id: cache.renders[item.candidate.id].png for item in selected}
        engines.render_jobs.clear()
        scored = scoring.embed(population.variation_api(generation, selected))
        born = [candidate for candidate in scored.candidates if candidate.generation == generation]
        assert len(born) == len(engines.render_jobs) == 8
        for candidate, job in zip(born, engines.render_jobs, strict=True):
            parent = next(item.candidate for item in selected if item.candidate.id == candidate.parent_id)
            assert (candidate.text, candidate.label, candidate.operator) == (parent.text, parent.label, "image")
            assert job.image == origins[parent.id] and job.strength == pytest.approx(strength)
            assert job.text == parent.text
        assert len({job.seed for job in engines.render_jobs}) == 8, "each image has a seed of its own"


def test_strengths_fall_from_the_first_children_on_also_after_a_question_about_labels(make_config):
    config = images(make_config, evolution__generations=5, evolution__labels=LABELS, evolution__label_shares="voted")
    assert [candidate.generation for candidate in ImagePopulation(config).random_api()] == [1] * 12
    parent = RenderedImage("p", 0, 1, b"png")
    recipes = Recipes(config, {"p": parent}.get, are_images=True)
    jobs = [recipes.job(Candidate(f"g{number:02d}", "a cat", "cat", number, "p")) for number in (2, 3, 4)]
    assert [round(job.strength, 6) for job in jobs] == [0.9, 0.6, 0.3]
    assert recipes.job(Candidate("p", "a cat", "cat", 4), variant=1).strength == 0.3


def test_replaced_parents_are_there_until_their_children_are_rendered(make_config, local_engines):
    config = images(make_config, evolution__keep_survivors=False)
    population, scoring, cache = parts(config, local_engines())
    scored = scoring.embed(population.random_api())
    first = next(iter(scored.candidates))
    again = scoring.embed(population.variation_api(1, (Selected(first, 1, 1),)))
    assert len(again.candidates) == 12 and not np.isnan(again.embeddings_KE["image"]).any()
    assert set(cache.renders) == {candidate.id for candidate in again.candidates}, "memory does not grow"


def test_lookahead_votes_on_the_mean_of_variations_of_the_image_and_keeps_the_image(make_config, local_engines):
    engines = local_engines()
    config = images(make_config, evolution__lookahead=3, evolution__candidates=4)
    population, scoring, cache = parts(config, engines)
    scored = scoring.embed(population.random_api())
    assert len(engines.render_jobs) == 4 * (1 + 3) and len(engines.images) == 12
    varied = [job for job in engines.render_jobs if job.image is not None]
    assert {job.strength for job in varied} == {0.9}, "as far as the children of this generation will be"
    for candidate, row_E in zip(scored.candidates, scored.embeddings_KE["image"], strict=True):
        render = from_png(cache.renders[candidate.id].png)
        jobs = [job for job in varied if job.image == cache.renders[candidate.id].png]
        assert len(jobs) == 3
        own = local_engines()
        rows = [
            own._image_embedder.embed_images(own._renderer.vary([render], [job.text], [job.seed], job.strength))[0]
            for job in jobs
        ]
        mean_E = np.mean(rows, axis=0)
        np.testing.assert_allclose(row_E, mean_E / np.linalg.norm(mean_E), atol=1e-6)


def test_an_image_that_can_not_be_rendered_gets_no_votes_also_with_lookahead(make_config, local_engines):
    config = images(make_config, evolution__lookahead=2, evolution__candidates=4)
    population = ImagePopulation(config)
    bad = next(iter(population.random_api()))
    seed = Recipes(config, {}.get).seed(bad.id, 0)
    engines = local_engines(unrenderable=lambda job: job.seed == seed)
    rows_KE = Scoring(config, engines, population.variations, ScoreCache(), are_images=True).embed(
        population.random_api()
    )
    assert np.isnan(rows_KE.embeddings_KE["image"]).any(axis=1).tolist() == [True, False, False, False]


def test_a_child_whose_parent_has_no_image_is_rendered_from_its_text(make_config):
    orphan = Candidate("g01-000000", "red cat", "all", 1, "g00-000003", "image")
    assert Recipes(images(make_config), {}.get, are_images=True).job(orphan).image is None


def test_texts_are_never_varied_as_images(make_config):
    png = to_png(np.zeros((4, 4, 3), np.uint8))
    child = Candidate("g01-000000", "a red cat", "all", 1, "g00-000003", "fill")
    recipes = Recipes(make_config(), lambda candidate_id: RenderedImage(candidate_id, 0, 1, png))
    assert all(recipes.job(child, variant).image is None for variant in (0, 1))


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.25, 0.5])), max_size=40),
    st.integers(1, 7),
)
def test_batches_hold_jobs_of_one_kind_in_order(kinds, size):
    png = to_png(np.zeros((2, 2, 3), np.uint8))
    jobs = [
        RenderJob(f"{i}", i, png if image else None, strength if image else 0.0)
        for i, (image, strength) in enumerate(kinds)
    ]
    batches = list(batches_of(iter(jobs), size))
    assert [job for batch in batches for job in batch] == jobs
    for batch in batches:
        assert 1 <= len(batch) <= size and len({(job.image is None, job.strength) for job in batch}) == 1
        sent = render_batch(batch)
        assert sent.texts == tuple(job.text for job in batch) and sent.seeds == tuple(job.seed for job in batch)
        assert sent.images == tuple(job.image for job in batch if job.image) and sent.strength == batch[0].strength
    assert len(batches) <= 1 + len(jobs) // size + sum(a != b for a, b in zip(kinds, kinds[1:], strict=False))


def test_a_renderer_that_can_not_vary_is_found_out_before_anything_is_charged(local_engines):
    check_varies(local_engines(), 0.5)
    with pytest.raises(NothingMade, match="can't vary an image"):
        check_varies(local_engines(unrenderable=lambda job: job.image is not None), 0.5)
    with pytest.raises(NothingMade, match="can't vary an image"):
        check_varies(local_engines(unrenderable=lambda job: True), 0.5)


def test_varied_images_are_variations_of_the_voted_ones_with_the_last_strength(make_config):
    config = images(make_config, evolution__generations=3)
    png = to_png(np.zeros((4, 4, 3), np.uint8))
    parent = Candidate("g02-000001", "red cat", "all", 2, "g01-000000", "image")
    (varied,) = ImagePopulation(config).varied([parent])
    recipes = Recipes(config, {parent.id: RenderedImage(parent.id, 0, 1, png)}.get, are_images=True)
    jobs = [recipes.job(varied, variant) for variant in range(3)]
    assert {(job.image, job.strength) for job in jobs} == {(png, 0.3)} and len({job.seed for job in jobs}) == 3
