"""Async client of the Kubernetes API: requests, informers, work queue, leases."""
