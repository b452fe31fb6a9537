"""`cscl parser`: listing human parsers, training, scoring and comparing them."""
