"""Which actor does which batch, and when? Pure: no Ray."""
