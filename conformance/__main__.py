"""`python -m conformance`."""

from conformance.command import main

main(prog_name="python -m conformance")
