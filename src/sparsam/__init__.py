"""sparsam: a container orchestrator that speaks Kubernetes and spends only the watts that the work needs."""

__version__ = "0.1.0"
