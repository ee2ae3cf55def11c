"""The revisioned log behind the API server."""
