"""Good plans quickly: the baselines, cutting into stages, and improving by small changes."""
