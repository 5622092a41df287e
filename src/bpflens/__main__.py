"""python -m bpflens."""

from bpflens.cli.main import main

main()
