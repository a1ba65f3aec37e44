"""`python -m spti_ray.cli`, where the command `spti` is not on the path."""

from spti_ray.cli import main

if __name__ == "__main__":
    main()
