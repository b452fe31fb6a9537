"""Simulated data sets with exact part labels, in the layouts of the real ones."""

LAYOUT_NAMES = ("sysu", "regdb", "llcm")
"""The layouts that `layouts.LAYOUTS` writes; here, so that a command line lists them fast."""
