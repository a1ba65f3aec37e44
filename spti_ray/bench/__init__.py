"""How much of the machines' time reaches the engines, as ratios of one run: `spti bench`, `jobs/throughput.py`."""
