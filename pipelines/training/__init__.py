"""Training of CSCL and its baselines (`cscl train`): batches, one step, the loop, the optimiser and the processes."""
