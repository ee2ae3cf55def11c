"""Control loops, one file each, and the runtime that runs them."""
