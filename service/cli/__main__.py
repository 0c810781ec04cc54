"""`python -m service.cli`: the `lupine` command, where its script is not installed."""

from service.cli import main

main()
