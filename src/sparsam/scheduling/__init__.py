"""Snapshot, feasibility, scoring, placement. Pure."""
