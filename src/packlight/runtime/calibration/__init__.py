"""From calibration samples to observers."""
