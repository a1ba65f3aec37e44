import pytest

from spti_ray.finetuning.step_log import StepLog, StepsExhausted


def test_charges_outlive_the_process_and_count_again_when_steps_are_taken_again(tmp_path):
    first = StepLog(tmp_path / "steps.log", 5)
    for step in (0, 1, 2):
        first.charge(step)
    again = StepLog(tmp_path / "steps.log", 5)
    again.charge(1)
    assert again.charged == 4
    assert (tmp_path / "steps.log").read_text().split() == ["0", "1", "2", "1"]


def test_a_line_that_a_crash_cut_short_is_a_charge(tmp_path):
    (tmp_path / "steps.log").write_bytes(b"0\n1\n1")
    step_log = StepLog(tmp_path / "steps.log", 5)
    assert step_log.charged == 3
    step_log.charge(2)
    assert StepLog(tmp_path / "steps.log", 5).charged == 4


def test_no_more_steps_than_the_noise_pays_for(tmp_path):
    step_log = StepLog(tmp_path / "steps.log", 2)
    step_log.charge(0)
    assert not step_log.is_exhausted
    step_log.charge(1)
    assert step_log.is_exhausted
    before = (tmp_path / "steps.log").read_bytes()
    with pytest.raises(StepsExhausted):
        step_log.charge(2)
    assert (tmp_path / "steps.log").read_bytes() == before


def test_a_charge_that_can_not_be_written_is_an_error_and_no_step(tmp_path):
    step_log = StepLog(tmp_path / "gone" / "steps.log", 2)
    with pytest.raises(FileNotFoundError):
        step_log.charge(0)
    assert step_log.charged == 0
