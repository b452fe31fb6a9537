"""A training run's folder, its log, its embeddings and its scores."""
