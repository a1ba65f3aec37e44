"""Which batch goes to which actor, and when it is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.runtime.scheduling.retries import Limits
from spti_ray.runtime.scheduling.scheduler import Batch, Scheduler


def scheduler(actors: int, slots: int = 2, attempts: int = 3, crashes: int = 3, batches: int = 0) -> Scheduler[int]:
    made: Scheduler[int] = Scheduler(Limits(slots, attempts, crashes))
    for actor in range(actors):
        made.add_actor(actor)
    for number in range(batches):
        made.put(Batch((), number=number))
    return made


def assigned(made: Scheduler[int]) -> list[tuple[int, int]]:
    """(actor, number of the batch) of all that can be assigned now."""
    return [(actor, batch.number) for actor, batch in iter(made.assign, None)]


def test_batches_go_to_the_actor_with_the_fewest_until_all_slots_are_taken():
    made = scheduler(3, slots=2, batches=8)
    assert assigned(made) == [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4), (2, 5)]
    assert (made.in_flight, made.waiting, made.wants_more) == (6, 2, False)


def test_a_batch_that_raises_is_first_in_line_again_until_its_attempts_are_used_up():
    made = scheduler(1, slots=1, attempts=2, batches=2)
    actor, batch = made.assign()
    assert not made.failed(actor, batch)
    actor, again = made.assign()
    assert again is batch and made.failed(actor, batch)
    assert assigned(made) == [(0, 1)]


def test_a_batch_under_which_an_actor_crashed_runs_alone_from_then_on():
    made = scheduler(1, slots=2, batches=3)
    (_, first), (_, second) = made.assign(), made.assign()
    made.remove_actor(0)
    assert not made.lost(0, first, blamed=True) and not made.lost(0, second, blamed=True)
    made.add_actor(0)
    _, alone = made.assign()
    assert alone is second and made.assign() is None
    made.finished(0, alone)
    _, alone = made.assign()
    assert alone is first and made.assign() is None
    made.finished(0, alone)
    assert assigned(made) == [(0, 2)]


def test_while_a_suspect_waits_for_one_actor_to_run_empty_the_others_go_on():
    made = scheduler(3, slots=2, batches=6)
    sent = list(iter(made.assign, None))
    actor, batch = sent[0]
    made.remove_actor(actor)
    for crashed in (pair for pair in sent if pair[0] == actor):
        made.lost(*crashed, blamed=crashed[1] is batch)
    for number in (6, 7, 8):
        made.put(Batch((), number=number))
    made.finished(*sent[1])
    assert made.assign() is None, "the emptiest actor is left to run empty"
    made.finished(*sent[2])
    assert [made.assign()[1].number for _ in range(1)] == [3], "what was lost without blame comes first"
    made.finished(*sent[4])
    assert made.assign()[1] is batch


def test_a_batch_whose_actor_was_taken_away_loses_nothing():
    made = scheduler(1, slots=1, attempts=1, crashes=1, batches=1)
    for _ in range(50):
        actor, batch = made.assign()
        made.remove_actor(actor)
        assert not made.lost(actor, batch, blamed=False)
        made.add_actor(actor)
    assert (batch.failures, batch.crashes) == (0, 0)


def test_a_batch_that_crashes_every_actor_is_given_up():
    made = scheduler(1, slots=2, crashes=3, batches=1)
    given_up = []
    for _ in range(3):
        actor, batch = made.assign()
        made.remove_actor(actor)
        given_up.append(made.lost(actor, batch, blamed=True))
        made.add_actor(actor)
    assert given_up == [False, False, True] and made.waiting == 0


def test_an_actor_that_was_removed_gets_nothing_and_its_batches_still_come_back():
    made = scheduler(2, slots=1, batches=4)
    sent = list(iter(made.assign, None))
    made.remove_actor(0)
    made.remove_actor(0)
    made.finished(*sent[0])
    assert made.assign() is None and not made.is_up(0)
    made.finished(*sent[1])
    assert made.assign()[0] == 1


def test_an_actor_is_not_added_twice():
    with pytest.raises(ValueError, match="already"):
        scheduler(1).add_actor(0)


def test_a_forgotten_owners_batches_are_gone_and_the_others_stay():
    made = scheduler(0)
    for number in range(4):
        made.put(Batch((), owner=number % 2, number=number))
    made.forget(0)
    made.add_actor(0)
    assert assigned(made) == [(0, 1), (0, 3)]


@given(st.data())
def test_whatever_happens_each_batch_ends_once_and_the_innocent_are_never_given_up(data: st.DataObject):
    """Poisonous batches crash their actor, bad ones raise; actors also crash by chance, blaming nobody."""
    slots, attempts, crashes = (data.draw(st.integers(1, 3)) for _ in range(3))
    crashes += 1  # an innocent batch may be beside a poisonous one once
    actors = data.draw(st.integers(1, 4))
    made = scheduler(actors, slots, attempts, crashes)
    fates = data.draw(st.lists(st.sampled_from(["good", "good", "bad", "poison"]), max_size=12))
    for number in range(len(fates)):
        made.put(Batch((), number=number))
    flying: dict[int, list[Batch]] = {actor: [] for actor in range(actors)}
    ended: dict[int, str] = {}

    def crash(actor: int, blamed: bool) -> None:
        made.remove_actor(actor)
        for batch in flying[actor]:
            if made.lost(actor, batch, blamed):
                assert batch.number not in ended
                ended[batch.number] = "given up"
        flying[actor] = []
        made.add_actor(actor)

    while made.waiting or made.in_flight:
        for actor, batch in iter(made.assign, None):
            flying[actor].append(batch)
            assert len(flying[actor]) <= slots
            assert not any(one.crashes for one in flying[actor]) or len(flying[actor]) == 1
        assert made.in_flight == sum(map(len, flying.values())) > 0
        actor = data.draw(st.sampled_from([actor for actor in flying if flying[actor]]))
        batch = data.draw(st.sampled_from(flying[actor]))
        fate = fates[batch.number]
        if data.draw(st.integers(0, 9)) == 0:
            crash(actor, blamed=False)
        elif fate == "poison":
            crash(actor, blamed=True)
        else:
            flying[actor].remove(batch)
            assert batch.number not in ended
            if fate == "good":
                made.finished(actor, batch)
                ended[batch.number] = "finished"
            elif made.failed(actor, batch):
                ended[batch.number] = "given up"
    assert {number: how == "finished" for number, how in ended.items()} == {
        number: fate == "good" for number, fate in enumerate(fates)
    }
