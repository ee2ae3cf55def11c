"""The node's HTTPS server, as the API server expects it of a kubelet: logs, streams, port-forward, statistics."""
