"""Where costs come from: measurements, calibration, the roofline."""
