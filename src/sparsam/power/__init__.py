"""Utilization to watts. Pure."""
