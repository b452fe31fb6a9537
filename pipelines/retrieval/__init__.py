"""`cscl evaluate`, `search` and `export`: what a trained network is used for."""
