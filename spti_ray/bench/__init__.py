"""How much of the machines' time do engines get to work? Ratios measured by `spti bench` and `jobs/throughput.py`."""
