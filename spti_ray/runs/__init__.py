"""What does a run leave on disk, and how does it go on from there?"""

# Not `run`: `spti_ray.run` is a function.
