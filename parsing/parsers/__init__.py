"""Human parsers: the base class, one adapter per file, and their weights. The registry imports an adapter on demand."""
