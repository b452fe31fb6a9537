"""The parts of `cscl benchmark` by name; importing this loads nothing, so that the help is quick."""

PARTS = ("parse", "read", "train", "evaluate", "start")
