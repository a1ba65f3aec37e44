"""Submitting a run: what is refused, which attempt it becomes, and what its end means."""

from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.job_submission import JobStatus

from spti_ray.config.job_paths import check_shared
from spti_ray.config.loading import ConfigError
from spti_ray.errors import exit_code
from spti_ray.runtime.ray import submit as module
from spti_ray.runtime.ray.submit import NotFollowed, NotSubmitted, connect, follow, submit
from tests.unit.conftest import config_with


def config(path="bundled:stickers", ledger="/runs/ledger", epsilon=1.0):
    return config_with(data__path=path, ledger__path=ledger, privacy__epsilon=epsilon)


class Client:
    """A cluster that remembers its jobs."""

    def __init__(self, refuse=""):
        self.jobs, self.refuse, self.entrypoints = [], refuse, []

    def list_jobs(self):
        return [SimpleNamespace(submission_id=None, status=JobStatus.RUNNING), *self.jobs]

    def submit_job(self, entrypoint, submission_id, runtime_env):
        if self.refuse:
            raise RuntimeError(self.refuse)
        self.entrypoints.append(entrypoint)
        self.jobs.append(SimpleNamespace(submission_id=submission_id, status=JobStatus.PENDING, driver_exit_code=None))
        return submission_id

    def get_job_info(self, submission_id):
        return next(job for job in self.jobs if job.submission_id == submission_id)

    async def tail_job_logs(self, submission_id):
        yield "one\n"
        yield "two\n"


@pytest.mark.parametrize(
    ("out", "path", "ledger", "named"),
    [
        ("runs/a", "bundled:stickers", "/l", "--out runs/a"),
        ("s3://bucket/runs", "bundled:stickers", "/l", "--out: is a folder"),
        ("/runs/a", "images", "/l", "data.path images"),
        ("/runs/a", "/data", "ledger", "ledger.path ledger"),
    ],
)
def test_what_the_nodes_would_not_find_or_would_lose_is_refused(out, path, ledger, named):
    with pytest.raises(ConfigError, match=named):
        submit(Client(), config(path, ledger), out)


@pytest.mark.parametrize("path", ["/data", "s3://bucket/data", "bundled:stickers"])
def test_what_all_nodes_can_reach_is_accepted(path):
    check_shared(config(path, "s3://bucket/ledgers"), "/runs/a")


def test_a_run_that_is_under_way_is_joined_and_one_that_ended_is_tried_again():
    client = Client()
    first = submit(client, config(), "/runs/a")
    assert not first.joined and first.submission_id.endswith("-1")
    assert client.entrypoints == ["spti run run.yaml --out /runs/a"]
    for status in (JobStatus.PENDING, JobStatus.RUNNING):
        client.jobs[0].status = status
        again = submit(client, config(), "/runs/a")
        assert again.joined and again.submission_id == first.submission_id
    for status in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.SUCCEEDED):
        client.jobs[-1].status = status
        assert not submit(client, config(), "/runs/a").joined
    assert [job.submission_id.rpartition("-")[2] for job in client.jobs] == ["1", "2", "3", "4"]


def test_another_folder_or_another_computation_is_another_run():
    client = Client()
    submit(client, config(), "/runs/a")
    assert not submit(client, config(), "/runs/b").joined
    assert not submit(client, config(epsilon=2.0), "/runs/a").joined
    assert len({job.submission_id for job in client.jobs}) == 3


def test_two_that_submit_in_the_same_moment_get_one_job():
    assert submit(Client(refuse="Job with submission_id spti-x-1 already exists"), config(), "/runs/a").joined


def test_a_refused_job_is_told_in_one_line_without_the_clusters_words():
    with pytest.raises(NotSubmitted) as caught:
        submit(Client(refuse="a long\nanswer"), config(), "/runs/a")
    assert "answer" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [
        (JobStatus.SUCCEEDED, 0, 0),
        (JobStatus.FAILED, 3, 3),
        (JobStatus.FAILED, None, 1),
        (JobStatus.STOPPED, None, 1),
        (JobStatus.STOPPED, 0, 1),
    ],
)
def test_the_log_is_followed_to_its_end_and_the_exit_code_is_the_runs(status, driver, code):
    client = Client()
    attempt = submit(client, config(), "/runs/a")
    client.jobs[0].status, client.jobs[0].driver_exit_code = status, driver
    lines = []
    assert follow(client, attempt.submission_id, lines.append) == code
    assert lines == ["one\n", "two\n"]


class Breaks(Client):
    """A cluster whose connections break, at this place of the log each."""

    def __init__(self, *breaks):
        super().__init__()
        self._breaks = list(breaks)

    async def tail_job_logs(self, submission_id):
        log = "one\ntwo\nthree\n"
        until = self._breaks.pop(0) if self._breaks else len(log)
        for position in range(0, until, 3):
            yield log[position : min(position + 3, until)]
        if until < len(log):
            raise RuntimeError("the websocket closed")
        self.jobs[0].status = JobStatus.SUCCEEDED


@given(breaks=st.lists(st.integers(0, 13), max_size=6))
def test_a_log_whose_connection_breaks_is_followed_on_where_it_stopped(breaks):
    client, lines = Breaks(*breaks), []
    attempt = submit(client, config(), "/runs/a")
    with patch.object(module, "_AGAIN_S", 0.0):
        assert follow(client, attempt.submission_id, lines.append) == 0
    assert "".join(lines) == "one\ntwo\nthree\n"


def test_a_connection_that_ends_while_the_job_runs_is_made_again(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    client, lines = Client(), []
    attempt = submit(client, config(), "/runs/a")
    states = iter([JobStatus.RUNNING, JobStatus.PENDING, JobStatus.SUCCEEDED])

    def info(submission_id):
        client.jobs[0].status = next(states)
        return client.jobs[0]

    client.get_job_info = info
    assert follow(client, attempt.submission_id, lines.append) == 0
    assert lines == ["one\n", "two\n"]


def test_a_cluster_that_stays_silent_is_given_up_with_the_way_back(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    monkeypatch.setattr(module, "_SILENT_S", 0.0)
    client = Breaks(*[0] * 9)
    attempt = submit(client, config(), "/runs/a")
    with pytest.raises(NotFollowed, match="the same command follows it again") as caught:
        follow(client, attempt.submission_id, print)
    assert "websocket" not in str(caught.value) and exit_code(caught.value) == 1


def test_an_address_is_told_without_the_password_in_it():
    with pytest.raises(NotSubmitted, match="does not answer") as caught:
        connect("http://me:sEcReT@127.0.0.1:1")
    assert "sEcReT" not in str(caught.value)
