"""Runs as jobs of a real cluster that asks for a token."""

import subprocess

import pytest

from tests.ray.head import ROOT, SMALL


def test_without_the_clusters_token_nothing_is_submitted(head):
    result = head.submit(head.folder / "stranger", token="0" * 32)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "wants another token" in result.stderr
    assert not (head.folder / "stranger").exists() and not (head.folder / "ledger").exists()


def test_a_submitted_run_leaves_a_release_that_verifies_and_its_log(head):
    out = head.folder / "run"
    result = head.submit(out)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "submitted spti-" in result.stdout and f"release: {out}/release" in result.stdout
    verified = head.spti("verify", str(out), "--ledger", str(head.folder / "ledger"))
    assert verified.returncode == 0, verified.stdout


def by_ray(head, package, *arguments):
    """`ray job submit` of jobs/synthesize.py, as the README has it; what the job wrote, and whether it succeeded."""
    command = ["ray", "job", "submit", "--address", head.address, "--working-dir", str(package), "--"]
    # The job runs in a node's process, which finds this checkout as a cluster finds an installed spti-ray.
    entry = ["python", str(ROOT / "jobs" / "synthesize.py"), "--config", "my.yaml", *arguments]
    done = subprocess.run(
        [*command, *entry], env=head.environment(), cwd=package, text=True, capture_output=True, timeout=300
    )
    return done.stdout + done.stderr, done.returncode == 0


def test_a_job_with_its_ledger_or_private_images_in_its_package_is_refused(head, tmp_path):
    package = tmp_path / "project"
    (package / "scans").mkdir(parents=True)
    (package / "scans" / "smith.png").write_bytes(b"private")
    stickers = (ROOT / "jobs" / "stickers.yaml").read_text()
    (package / "my.yaml").write_text(stickers.replace("path: ../runs/ledger", "path: books"))
    out, ledger = f"--out={head.folder}/job", f"--set=ledger.path={head.folder}/job-ledger"
    told, well = by_ray(head, package, out)
    assert not well and "ledger.path books is relative: on the cluster it would be in a folder that goes with" in told
    told, well = by_ray(head, package, out, ledger, f"--set=data.path={package}/scans")
    assert not well and "private images were uploaded with this job's working directory" in told and "smith" not in told
    assert not (head.folder / "job").exists() and not (head.folder / "job-ledger").exists()


@pytest.mark.slow
def test_two_jobs_with_one_ledger_share_one_budget_and_the_refused_ones_exit_code_is_the_commands(head, tmp_path):
    (tmp_path / "my.yaml").write_text((ROOT / "jobs" / "stickers.yaml").read_text())
    shared = ("privacy.epsilon=4", "dataset.lifetime_epsilon=5", f"ledger.path={head.folder}/shared-ledger")
    first = (f"--out={head.folder}/first", *(f"--set={setting}" for setting in (*SMALL, *shared)))
    told, well = by_ray(head, tmp_path, *first)
    assert well, told
    second = head.submit(head.folder / "second", *shared)
    assert second.returncode == 3 and "lifetime" in second.stdout + second.stderr
    assert not (head.folder / "second" / "release").exists()
