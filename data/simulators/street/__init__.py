"""The `street` simulation: people cut out of annotated photographs, before other backgrounds."""
