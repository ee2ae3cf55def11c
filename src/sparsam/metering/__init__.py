"""A node's watts to its pods: read, attribute, publish; the same in the node agent and beside a foreign kubelet."""
