"""Evaluation as the field does it: datasets, metrics, runs, reports, comparison, and adapters to other toolkits."""
