"""How does one play with a plan? One HTML page (`spti plan --html`), with the planner's formulas."""
