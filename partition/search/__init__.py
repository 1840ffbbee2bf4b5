"""Finding the best plan and proving it: bounds, dynamic programs, minimum cuts, CP-SAT."""
