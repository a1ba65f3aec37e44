"""What would a configuration make, cost and promise? From settings alone."""
