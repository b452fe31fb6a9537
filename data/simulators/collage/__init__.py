"""The `collage` simulation: people cut out of annotated photographs, before other backgrounds."""
