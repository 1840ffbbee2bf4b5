"""How each region's loops run: default schedules, and what tuning found."""
