"""What would a configuration cost? Counts from its settings, rates with their sources, prices."""
