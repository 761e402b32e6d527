"""Bytes to representation and back, nothing else: no I/O, no state, no HTTP framework."""
