"""`cscl train`: the loop, one step of it, its batches and its optimiser."""
