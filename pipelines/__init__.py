"""One module a command: the only place where stages meet."""
