"""Audits of the installed build: attacks on the real gate and tests of the real sampler (`spti audit`).

An audit can find a fault; that it finds none proves nothing. Nothing here reads private data: all records are made up.
"""
