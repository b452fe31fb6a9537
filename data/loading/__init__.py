"""Images in memory, P x K sampling, and joint transforms of an image and its mask."""
