"""Hollow nodes: modelled servers that a cluster sees as nodes, run pods in name only and draw modelled power."""
