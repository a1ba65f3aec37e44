"""A plan for tests that do not care about its figures."""

from spti_ray.dp.calibration import plan_at

PLAN = plan_at(sigma=8.0, epsilon=1.0, delta=1e-5, votes_per_record=1, generations=3, spare_slots=1)
