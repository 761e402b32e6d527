"""The CDMI front-end: SNIA CDMI 1.1.1 and 2.0 (ISO/IEC 17826) over the cloud's door, and the plain-HTTP profile."""
