"""What the driver makes of its shards' answers, wherever they run."""

import json
import os
import stat

import pytest

from spti_ray.errors import exit_code
from spti_ray.private.kinds import NoRecordCanVote
from spti_ray.private.shard import Prepared
from spti_ray.runs.folder import RunDir
from spti_ray.runtime.voter import ShardVoter


class Voter(ShardVoter):
    """Of shards that answer so, in this order."""

    def __init__(self, answers, report):
        super().__init__(len(answers), report)
        self._answers = answers

    num_preparing = 0

    def show(self, generation, block, votes_per_record):
        pass

    def _ask(self, method, *arguments):
        return iter(self._answers)


NOBODY = Prepared([(7, "no listed label"), (8, "not an image")], can_vote=False)
SOMEBODY = Prepared([(3, "no listed label"), (4, "no listed label")], can_vote=True)


@pytest.mark.parametrize("answers", [[SOMEBODY, NOBODY], [NOBODY, SOMEBODY]])
def test_one_record_that_can_vote_is_enough(answers):
    told = []
    Voter(answers, told.append).ready()
    assert told == [sorted(SOMEBODY.problems + NOBODY.problems)]


def test_where_not_one_record_can_vote_the_run_ends_with_the_reasons_inside(tmp_path, make_config):
    run = RunDir(tmp_path, "run-1", make_config())
    with pytest.raises(NoRecordCanVote, match="no record of this data set can vote, so nothing was spent") as caught:
        Voter([NOBODY, Prepared([(9, "no listed label")], can_vote=False)], run.report_problems).ready()
    assert exit_code(caught.value) == 2
    assert not any(text in str(caught.value) for text in ("7", "8", "9", "listed", "image"))
    reasons = run.internal / "problems.json"
    assert json.loads(reasons.read_text()) == {"no listed label": 2, "not an image": 1}
    assert stat.S_IMODE(reasons.stat().st_mode) == 0o600 and stat.S_IMODE(os.stat(run.internal).st_mode) == 0o700


def test_what_a_shard_tells_its_driver_does_not_print():
    assert repr(NOBODY) == str(NOBODY) == "<Prepared: private>"
