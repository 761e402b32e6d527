"""The OCCI front-end: GFD.221/223/224 (1.2) and GFD.183/184/185 (1.1) over the cloud's door."""
