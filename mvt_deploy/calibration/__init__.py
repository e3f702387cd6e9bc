"""Calibration: crops along real trajectories, recorded once, that activation ranges are measured on."""
