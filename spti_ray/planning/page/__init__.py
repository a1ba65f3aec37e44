"""How does one play with a plan? One HTML page (`spti plan --html`), whose script has the planner's formulas."""
