"""Which candidates are there, how are they made and chosen, and what is a release? No private value is seen here."""
