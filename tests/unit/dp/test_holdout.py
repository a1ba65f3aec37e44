"""What of a dataset no run uses: fixed before its first run, the same for all."""

from pathlib import Path

import pytest

from spti_ray.dp.calibration import NoisePlan
from spti_ray.dp.certificate import certificate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import HeldOut
from spti_ray.dp.history import CHECKED
from spti_ray.dp.holdout import find_holdout
from spti_ray.dp.ledger import Ledger
from tests.unit.dp.plans import PLAN


def registered(tmp_path: Path) -> Ledger:
    book = Ledger(tmp_path, "ds")
    book.register(None, 1e-5)
    return book


def opened(book: Ledger, run: str, share: float = 0.0, plan: NoisePlan = PLAN) -> None:
    book.hold_out(share, "record")
    book.open_run(run, plan, "c", "noise", True, holdout=share)


def test_the_first_run_fixes_what_all_later_ones_hold_out(tmp_path):
    book = registered(tmp_path)
    opened(book, "a", 0.1)
    opened(book, "b", 0.1)
    assert [e.event for e in book.entries() if e.kind == "HELD_OUT"] == [HeldOut(0.1, "record")]
    for share, unit in ((0.2, "record"), (0.0, "record"), (0.1, "group (user)")):
        with pytest.raises(LedgerError, match=r"its runs hold out 0\.1 of the units record"):
            book.hold_out(share, unit)
    with pytest.raises(LedgerError, match="its runs hold out"):
        book.open_run("c", PLAN, "c", "noise", True)


def test_what_voted_once_is_never_held_out(tmp_path):
    book = registered(tmp_path)
    opened(book, "a")
    with pytest.raises(LedgerError, match=r"earlier runs used all of its records, so data.holdout can't be 0\.1"):
        book.hold_out(0.1, "record")
    assert find_holdout(book.entries()) is None


def test_a_run_that_is_not_private_used_the_records_too_and_a_look_did_not(tmp_path):
    book = registered(tmp_path)
    book.record_unprotected_run("looked", f"{CHECKED}2026")
    book.hold_out(0.1, "record")
    book.hold_out(0.2, "record")  # the run that asked for 0.1 was refused before it began
    book.record_unprotected_run("captions", "renders")
    with pytest.raises(LedgerError, match=r"hold out 0\.2"):
        book.hold_out(0.1, "record")


def test_a_run_does_not_begin_when_another_share_was_fixed_meanwhile(tmp_path):
    book = registered(tmp_path)
    book.hold_out(0.1, "record")
    book.hold_out(0.2, "record")
    with pytest.raises(LedgerError, match="another data.holdout was fixed meanwhile"):
        book.open_run("a", PLAN, "c", "noise", True, holdout=0.1)


def test_the_certificate_tells_it_and_without_it_has_no_such_field(tmp_path):
    book = registered(tmp_path / "held")
    opened(book, "a", 0.1)
    told = certificate(book.entries(), "a")
    assert told is not None and (told["held_out"]["share"], told["held_out"]["unit"]) == (0.1, "record")
    whole = registered(tmp_path / "whole")
    opened(whole, "a")
    told = certificate(whole.entries(), "a")
    assert told is not None and "held_out" not in told
