"""Running a plan through a discrete-event simulation."""
