"""Which resources does a run need, and do nodes have them? Pure: no Ray."""
