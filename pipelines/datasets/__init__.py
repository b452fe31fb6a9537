"""Count data sets, and make simulated ones (`cscl data`)."""
