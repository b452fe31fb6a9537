"""Weights that come with the project, and the hash by which a parser of your own names its weights in a cache."""

from ..parsers.weights import content_hash

__all__ = ["content_hash"]
