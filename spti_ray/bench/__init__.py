"""How much of the machines' time do engines get to work? Ratios, by `spti bench` and `jobs/throughput.py`."""
