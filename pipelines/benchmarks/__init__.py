"""One module per part of `cscl benchmark`: both sides are measured by turns in one run."""
