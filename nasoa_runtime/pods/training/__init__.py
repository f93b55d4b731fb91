"""Training, measuring and evaluating networks with torch."""
