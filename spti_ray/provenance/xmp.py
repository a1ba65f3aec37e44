"""A statement as XMP (ISO 16684-1), which readers of images' metadata know, and back.

`DigitalSourceType` is IPTC's (Photo Metadata Standard 2025.1, https://www.iptc.org/std/photometadata/specification/),
by which platforms recognise synthetic images.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from spti_ray.provenance.statement import SOURCE_TYPE, Statement

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
NAMESPACE = "urn:spti-ray:release/1/"
"""Of the properties that no standard has."""

_NAMES = {
    "method": f"{NAMESPACE}Method",
    "protection": f"{NAMESPACE}Protection",
    "epsilon": f"{NAMESPACE}Epsilon",
    "delta": f"{NAMESPACE}Delta",
    "unit": f"{NAMESPACE}Unit",
    "run": f"{NAMESPACE}Run",
    "ledger_entry": f"{NAMESPACE}LedgerEntry",
    "simulated": f"{NAMESPACE}Simulated",
    "software": f"{_XMP}CreatorTool",
}
"""The property of each field of a statement."""

_PREFIXES = {_IPTC: "Iptc4xmpExt", NAMESPACE: "spti", _XMP: "xmp"}

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML can't hold."""

_LONGEST = 100_000
"""Characters of a packet that is read; those that are written have about 1,200."""


class NotRead(ValueError):
    """A packet can't be read as the XMP of a released image; one line."""


def packet(statement: Statement) -> str:
    """The XMP packet of a statement; the same characters for the same statement."""
    properties = [(f"{_IPTC}DigitalSourceType", SOURCE_TYPE)]
    properties += [(_NAMES[name], value) for name, value in statement.fields().items()]
    lines = [f"   <{_prefixed(name)}>{_text(value)}</{_prefixed(name)}>" for name, value in properties]
    spaces = [f'    xmlns:{prefix}="{uri}"' for uri, prefix in _PREFIXES.items()]
    return "\n".join(
        [
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
            f' <rdf:RDF xmlns:rdf="{_RDF}">',
            '  <rdf:Description rdf:about=""',
            *spaces[:-1],
            f"{spaces[-1]}>",
            *lines,
            "  </rdf:Description>",
            " </rdf:RDF>",
            "</x:xmpmeta>",
            '<?xpacket end="r"?>',
        ]
    )


def said_in(packet: str) -> dict[str, str]:
    """What a packet says, by the fields of a statement, and `source_type`. Others are left out.

    Args:
        packet: from a file that anybody may have written.

    Raises:
        NotRead: it is no XMP, or says something twice.
    """
    if len(packet) > _LONGEST or "<!" in packet:  # no entities that grow
        raise NotRead("not the XMP of a released image")
    try:
        root = ElementTree.fromstring(packet)
    except ElementTree.ParseError:
        raise NotRead("the XMP can't be read as XML") from None
    fields = {f"{{{name[: -len(leaf)]}}}{leaf}": field for field, name in _NAMES.items() for leaf in [_leaf(name)]}
    fields[f"{{{_IPTC}}}DigitalSourceType"] = "source_type"
    said: dict[str, str] = {}
    for description in root.iter(f"{{{_RDF}}}Description"):
        for property in description:
            field = fields.get(property.tag)
            if field in said:
                raise NotRead(f"the XMP says {field} twice")
            if field:
                said[field] = property.text or ""
    return said


def readable(value: str) -> str:
    """A value as it is read from a packet: without what XML can't hold, and without line breaks of its own."""
    return " ".join(_NO_XML.sub("\ufffd", value).split())


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]


def _prefixed(name: str) -> str:
    leaf = _leaf(name)
    return f"{_PREFIXES[name[: -len(leaf)]]}:{leaf}"


def _text(value: str) -> str:
    return escape(readable(value))
