# pyright: strict
"""Damage that belongs to no single record, and so is an error of the whole data set: before the first reservation.

A reader that went on after it would give other records other votes, or none. Damage to one record costs it its vote.
"""

from __future__ import annotations


class Damaged(ValueError):
    """A file of the data set can't be taken apart into records; its text is from a fixed vocabulary without content."""
