"""Masks that others made: what their numbers and colours mean, and where in a mask its image lies."""
