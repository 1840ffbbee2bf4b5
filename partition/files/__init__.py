"""Cost tables and plans as JSON."""
