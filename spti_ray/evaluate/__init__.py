"""How good a set of images is, measured against the private images: for their owner, never part of a release.

No figure made here is differentially private. The Python interface is `evaluation.evaluate` and `reference.load`.
"""
