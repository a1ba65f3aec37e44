"""`spti bench` as a job's entry point, from a checkout:

    ray job submit --address http://head:8265 --working-dir . -- \\
        python jobs/throughput.py --out /runs/bench --config my.yaml --price-per-gpu-hour 2.5
"""

from __future__ import annotations

import typer

from spti_ray.cli.bench import bench

if __name__ == "__main__":
    typer.run(bench)
