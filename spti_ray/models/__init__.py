"""Which engines are there, and how is each loaded and called? This package knows nothing of privacy."""
