# pyright: strict
"""Damage that is not one record's alone: it is an error of the whole data set, before the first reservation.

A reader that continued after it would change other records' votes. Damage to one record only costs that record its
vote.
"""

from __future__ import annotations


class Damaged(ValueError):
    """A file of the data set can't be split into records. The text is from a fixed vocabulary without content."""
