"""List, train, score and compare human parsers (`cscl parser`)."""
