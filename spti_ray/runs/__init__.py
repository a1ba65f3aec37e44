"""What does a run leave on disk, and how does it go on from there? Not `run`: that is the function `spti_ray.run`."""
