"""Reads TOML, environment and flags once into frozen dataclasses; only the CLI imports it."""
