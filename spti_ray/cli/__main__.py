"""`python -m spti_ray.cli`: the `spti` command where its script is not on the PATH."""

from spti_ray.cli import app

app(prog_name="spti")
