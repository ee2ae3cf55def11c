"""Storage drivers behind the Container Storage Interface: found at their sockets, told what to mount and where."""
