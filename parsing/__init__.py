"""Human parsers, label sets, part schemes and the mask cache."""
