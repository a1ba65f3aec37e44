"""How well does a release serve, told in public? One noised answer of the private records (`spti measure`)."""
