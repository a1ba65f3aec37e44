"""What a configuration would cost before anything runs: counts from its settings, rates with their sources, prices."""
