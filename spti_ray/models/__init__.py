"""Which engines are there, and how is each loaded and called? Knows nothing of privacy."""
