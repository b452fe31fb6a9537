"""One module per command: its options, one call of a pipeline, what it prints. Pipelines are imported when called."""
