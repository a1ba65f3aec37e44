"""The parts of the datasheet as sentences, for those who read no Markdown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.public.datasheet import Datasheet
from tests.unit.conftest import config_with
from tests.unit.public.test_release import CERTIFICATE

PARTS = ("warnings", "summary", "contents", "how", "privacy", "uses", "limits")


def sheet(tmp_path, certificate=CERTIFICATE, models=None, **changes):
    return Datasheet(tmp_path, config_with(**changes), [], models or {}, certificate)


@pytest.mark.parametrize("method", ["spti", "pe-image", "random"])
def test_a_sentence_is_a_line_of_plain_text_that_the_page_has_too(tmp_path, method):
    made = sheet(tmp_path, CERTIFICATE if method != "random" else None, method=method, evolution__voting="image")
    page = " ".join(made.markdown().replace("**", "").replace("`", "").split())
    for part in PARTS:
        for line in made.sentences(part):
            assert line == " ".join(line.split()) and "**" not in line
            assert line.removeprefix("What is not protected: ") in page.replace("\\", "")
    assert all(made.sentences(part) for part in PARTS if part != "warnings")


def test_what_is_not_protected_is_never_told_without_saying_that_it_is_not(tmp_path):
    lines = sheet(tmp_path).sentences("privacy")
    assert "What is not protected: the label list" in lines and "the label list" not in lines


def test_a_warning_is_a_sentence_too(tmp_path):
    assert sheet(tmp_path).sentences("warnings") == []
    (line,) = sheet(tmp_path, None).sentences("warnings")
    assert line.startswith("WARNING: THIS RELEASE IS NOT PRIVATE. The noise")
    (line,) = sheet(tmp_path, models={"writer": {"model": "SIMULATED"}}).sentences("warnings")
    assert line.startswith("SIMULATED. No models made this: the writer only took")


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=60))
def test_what_a_certificate_says_is_one_line_whatever_it_is(tmp_path_factory, text):
    lines = sheet(tmp_path_factory.getbasetemp(), CERTIFICATE | {"not_protected": [text]}).sentences("privacy")
    plain = sheet(tmp_path_factory.getbasetemp(), CERTIFICATE | {"not_protected": ["x"]}).sentences("privacy")
    assert all(len(line.splitlines()) == 1 for line in lines) and len(plain) - len(lines) in (0, 1)
