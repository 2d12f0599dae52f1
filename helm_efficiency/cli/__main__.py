"""Run `python -m helm_efficiency.cli`, for machines on which the console script is not on PATH."""

from helm_efficiency.__main__ import main

main()
