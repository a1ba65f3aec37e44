"""How good are images, measured against the private ones? For the data's owner, never part of a release.

No figure made here is differentially private. The Python interface is `evaluation.evaluate` and `reference.load`.
"""
