"""Kubernetes objects as plain JSON: kinds, schemas, validation, patches. Pure."""
