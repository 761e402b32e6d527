"""Benchmarks: ratios against yardsticks that are measured in the same run. Nothing here is ever asserted by a test."""
