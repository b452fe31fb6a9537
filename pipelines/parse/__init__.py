"""Stage 1, `cscl parse`: arguments and plan of a run, and the dask workers that parse its shards."""
