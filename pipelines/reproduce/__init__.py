"""Reproduce the tables of the paper on a data set (`cscl reproduce`): plan, estimate, run, page."""
