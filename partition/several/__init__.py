"""Several models that share one board."""
