"""CDMI 1.1.1 and 2.0 (SNIA, ISO/IEC 17826): bytes and texts to representation and back."""
