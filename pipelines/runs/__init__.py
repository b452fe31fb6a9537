"""The folder of a training run: its files, its log, its embeddings and its scores."""
