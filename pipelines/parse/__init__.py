"""`cscl parse`: what a run is asked for, its plan, and its shards parsed by dask workers."""
