"""The sparsam command."""
