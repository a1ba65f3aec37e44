"""Generations on disk."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from spti_ray.public.render_store import RenderStore
from spti_ray.public.scoring import ScoreCache
from spti_ray.runs import generation_store
from spti_ray.runs.folder import RunDir
from spti_ray.runs.generation_store import GenerationStore
from spti_ray.types import Candidate, Candidates, RenderedImage, ScoredCandidates


@pytest.mark.parametrize("at_a_time", [2, 64])
def test_a_generation_is_read_back_as_it_was_saved_however_few_renders_are_in_memory(
    tmp_path, make_config, monkeypatch, at_a_time
):
    monkeypatch.setattr(generation_store, "_RENDERS_AT_A_TIME", at_a_time)
    run = RunDir(tmp_path, "run-1", make_config())
    cache = ScoreCache(renders=RenderStore(tmp_path))
    items = tuple(Candidate(f"g00-{i:06d}", f"text {i}", "all", 0) for i in range(5))
    for item in items[:4]:  # the last one could not be rendered
        cache.renders[item.id] = RenderedImage(item.id, 0, 2**62 + 1, item.text.encode())
    rows = np.eye(5, 3, dtype=np.float32)
    saved = ScoredCandidates(Candidates(items), {"image": rows}, {"image": 1.0})
    GenerationStore(run, cache).save(0, saved)

    again = ScoreCache()
    assert GenerationStore(run, again).load(0) == saved.candidates
    assert dict(again.renders) == dict(cache.renders) and len(again.renders) == 4
    np.testing.assert_array_equal(np.stack([again.rows["image"][item.id] for item in items]), rows)


def test_which_texts_were_cut_is_kept_and_earlier_generations_say_of_none(tmp_path, make_config):
    run = RunDir(tmp_path, "r", make_config())
    candidates = Candidates(
        (Candidate("g00-000000", "a cat", "all", 0, is_cut=True), Candidate("g00-000001", "a dog", "all", 0))
    )
    scored = ScoredCandidates(candidates, {"text": np.ones((2, 3), np.float32)}, {"text": 1.0})
    GenerationStore(run, ScoreCache()).save(0, scored)
    assert [one.is_cut for one in GenerationStore(run, ScoreCache()).load(0)] == [True, False]
    file = tmp_path / "generations" / "00" / "candidates.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["is_cut"]), file)
    assert [one.is_cut for one in GenerationStore(run, ScoreCache()).load(0)] == [False, False]
