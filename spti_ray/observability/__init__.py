"""How far is a run, and where did the time go? Public values only."""
