"""What the HTTPS servers of the cluster share: the API server and the node agents."""
