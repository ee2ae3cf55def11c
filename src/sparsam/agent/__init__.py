"""The node agent: pods over CRI, probes, volumes, stats and streams."""

import os

# gRPC's fork handlers do nothing for a child that only runs another program, and log at every one.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
