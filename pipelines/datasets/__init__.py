"""`cscl data`: counting data sets, and making simulated ones."""
