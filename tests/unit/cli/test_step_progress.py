"""Lines of a command that works in steps, where nobody watches a terminal."""

from threading import Event

from spti_ray.cli.step_progress import PlainSteps, said_again, step_progress


def test_a_step_has_a_line_as_it_begins_and_then_one_every_ten_seconds():
    time = [100.0]
    steps = PlainSteps(lambda: time[0])
    assert steps.line("loading", 0, 0) == "00:00 loading"
    time[0] += 9
    assert steps.line("loading", 0, 0) == ""
    assert steps.line("embedding", 0, 40) == "00:09 embedding, 0 of 40"
    time[0] += 3
    assert steps.line("embedding", 10, 40) == ""
    time[0] += 60
    assert steps.line("embedding", 30, 40) == "01:12 embedding, 30 of 40"


def test_a_command_that_is_mostly_quick_has_no_line_before_ten_seconds():
    time = [100.0]
    steps = PlainSteps(lambda: time[0], quick=True)
    assert steps.line("checking images", 0, 400) == ""
    time[0] += 10
    assert steps.line("checking images", 100, 400) == "00:10 checking images, 100 of 400"
    assert steps.line("uploading", 0, 400) == ""


def test_lines_go_to_the_stderr_that_was_there(capfd):
    with step_progress() as told:
        told("loading [models]", 0, 0)
    assert capfd.readouterr().err == "00:00 loading [models]\n"


def test_a_step_that_says_nothing_while_it_takes_long_is_said_again_until_the_next():
    said, twice = [], Event()

    def told(*step):
        said.append(step)
        if said.count(("measuring", 1, 2)) > 2:
            twice.set()

    with said_again(told, every_s=0.01) as tell:
        tell("starting", 0, 2)
        tell("measuring", 1, 2)
        assert twice.wait(30)
    assert said[0] == ("starting", 0, 2) and set(said[said.index(("measuring", 1, 2)) :]) == {("measuring", 1, 2)}
