import shutil

from spti_ray.release.report.generations import lineages, read_generation
from tests.unit.release.report.runs import SIGMA, make_run, write_histogram


def test_a_burned_slot_that_left_a_file_is_not_the_histogram(tmp_path):
    folder = make_run(tmp_path)
    ids = [candidate.id for candidate in read_generation(folder, 1).candidates]
    for slot in (2, 3):
        write_histogram(folder, 1, ids, [slot] * len(ids), slot=slot)
    assert set(read_generation(folder, 1).counts_K.tolist()) == {3}


def test_generations_are_read_by_falling_votes(built):
    generation = read_generation(built[0], 1)
    assert generation.sigma == SIGMA
    assert generation.counts_K.tolist() == sorted(generation.counts_K.tolist(), reverse=True)
    assert generation.candidates[0].id == "g00-00000"
    assert len(generation.selected) == 4


def test_lineages_reach_back_to_the_first_proposal(built):
    chains = lineages(built[0], ["g01-00002", "g00-00001", "unknown"], 1)
    assert [[candidate.id for candidate in chain] for chain in chains] == [["g00-00002", "g01-00002"], ["g00-00001"]]


def test_a_run_that_goes_on_has_lineages_from_its_first_generation_on(tmp_path):
    folder = make_run(tmp_path)
    shutil.rmtree(folder / "generations" / "00")
    chains = lineages(folder, ["g01-00002", "g00-00001"], 1, first=1)
    assert [[candidate.id for candidate in chain] for chain in chains] == [["g01-00002"], ["g00-00001"]]
