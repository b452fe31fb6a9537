"""Recipes: the shipped ones (TOML), and reading them into frozen dataclasses."""
