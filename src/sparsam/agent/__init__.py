"""The node agent: pods over CRI, probes, volumes, stats and streams."""
