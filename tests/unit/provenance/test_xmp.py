"""A statement as XMP, and what is read of XMP that anybody may have written."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.provenance.statement import SOURCE_TYPE, Statement
from spti_ray.provenance.xmp import NotRead, packet, readable, said_in

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def statement(**more: str) -> Statement:
    fields = dict.fromkeys(Statement.__dataclass_fields__, "")
    return Statement(**fields | {"method": "spti", "software": "spti-ray 1"} | more)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30).filter(lambda text: readable(text)))
def test_what_is_written_is_read_again(unit):
    said = said_in(packet(statement(unit=unit, epsilon="1")))
    assert said == {
        "source_type": SOURCE_TYPE,
        "method": "spti",
        "software": "spti-ray 1",
        "epsilon": "1",
        "unit": readable(unit),
    }


def test_the_term_of_iptc_is_where_readers_look_for_it():
    root = ElementTree.fromstring(packet(statement()))
    (found,) = root.iter(f"{IPTC}DigitalSourceType")
    assert found.text == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def test_the_same_statement_is_the_same_packet():
    assert packet(statement(run="a")) == packet(statement(run="a")) != packet(statement(run="b"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<x",
        '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        "<x/>" + " " * 100_000,
        packet(statement()).replace("</rdf:Description>", "<spti:Method>pe-image</spti:Method></rdf:Description>"),
    ],
)
def test_what_is_no_packet_of_ours_is_refused(content):
    with pytest.raises(NotRead):
        said_in(content)
