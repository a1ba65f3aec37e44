"""What each comparison of a contamination audit shows, and what it does not: the words on its page."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["release", "generation 0", "renders of captions"]
"""The sets of images of an audit."""


class Shows(NamedTuple):
    """Of one set of images: the membership test, with units held out of the dataset or with other data; copies."""

    membership: str
    membership_of_others: str
    copies_of_voted: str
    copies_of_held_out: str


_OTHER_DATA = (
    " The held-out records are other data, so a difference may also be one between the two collections: this test "
    "can't tell which."
)
_COPIES_OF_HELD_OUT = (
    "No run used these records: a copy of one is what a model knew, or a record that voted looks the same. The records "
    "that voted are the yardstick; they are many, so it takes few copies to be flagged."
)

SHOWS: dict[Kind, Shows] = {
    "release": Shows(
        membership="What the run took from the records: whether images of the release are nearer to units that voted "
        "than to units that did not. Epsilon bounds it, whatever a model knew. It says nothing of contamination: a "
        "model that knows both parts is as near to both.",
        membership_of_others="What the run took from the records, or the models knew of them." + _OTHER_DATA,
        copies_of_voted="A copy is a record that a model knew, or that the run took. Epsilon bounds what the run took, "
        "not what a model knew.",
        copies_of_held_out=_COPIES_OF_HELD_OUT,
    ),
    "generation 0": Shows(
        membership="A control. These images were drawn of public prompts before anybody voted, and which units are "
        "held out was decided by a hash: nothing can tell the two parts apart, also if a model knows all of them. A "
        "p-value below 0.05 comes up in one of twenty such audits.",
        membership_of_others="These images were drawn of public prompts before anybody voted. Where units that voted "
        "are nearer, the models know them better than the held-out records." + _OTHER_DATA,
        copies_of_voted="Nobody had voted: a copy is a record that a model knew.",
        copies_of_held_out=_COPIES_OF_HELD_OUT,
    ),
    "renders of captions": Shows(
        membership="What captions carry: these images were drawn of captions of records that voted, so they are nearer "
        "to them by their making. That alone is no contamination.",
        membership_of_others="What captions carry: these images were drawn of captions of records that voted, so they "
        "are nearer to them by their making. That alone is no contamination.",
        copies_of_voted="The strongest probe: the renderer is asked for the records in words. Its words say far less "
        "than an image, so a render that is nearer to a record than other records are suggests that the model added "
        "the rest from memory.",
        copies_of_held_out=_COPIES_OF_HELD_OUT,
    ),
}

NOT_SHOWN = (
    "That nothing is flagged does not show that a model knows no record. It may know some and not draw them of these "
    "texts, or know them in words; and the judge may be blind to what makes two images the same.",
    "What is flagged rests on one assumption: an image that is no copy is no nearer to the records than a real record "
    "that is none of them. Near duplicates among the records make flags rarer. Images plainer than any record (a "
    "blank, an average) are near to many and may be flagged without a copy: look at the pairs.",
    "Records that never voted are records of the same source. A model may know them as it knows the others, so that no "
    "difference between the two parts does not say that it knows neither.",
    "Rates hold for each set of images and each judge by itself, for one look. Of many looks some are wrong.",
)
"""What holds for all sets."""
