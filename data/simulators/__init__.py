"""Simulated data sets with exact part labels, in the layouts of the real ones."""
