"""Latency one can trust: stages, percentiles, interleaved ratios, and the machine they were measured on."""
