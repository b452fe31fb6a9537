"""Visible-infrared person re-identification data sets, simulators, samplers and joint transforms."""
