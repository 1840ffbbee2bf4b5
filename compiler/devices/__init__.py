"""Models on devices: deployed, and profiled for the plans to come."""
