"""Annotated street photographs: reading them, cropping people out of them, simulating infrared on them."""

MOST_MISPLACED = 0.35
"""The largest error of `crops.misplace_box`: with two sides so far inwards, 30 % of the person remain. Here, so that a
command line knows it fast."""
