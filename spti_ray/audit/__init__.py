"""Does the installed build keep its promise? Attacks on the real gate, tests of the real sampler (`spti audit`).

An audit can find a fault; that it finds none proves nothing. No private data are read: all records are made up.
"""
