"""`python -m sparsam.cli`."""

from sparsam.cli import main

main()
