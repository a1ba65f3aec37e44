"""`python -m spti_ray.cli`: the `spti` command where its script is not on the PATH."""

from spti_ray.cli import main

main("spti")
