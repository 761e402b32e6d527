"""Conformance suites that run against any endpoint of an open cloud standard, ours or not.

What the standards ask lives here, as checks; no server's code does, nor any knowledge of how one works.
"""
