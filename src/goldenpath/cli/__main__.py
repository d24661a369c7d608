"""`python -m goldenpath.cli` is the `goldenpath` command."""

from goldenpath.cli import main

main()
