"""OCCI messages in text (GFD.185, GFD.229), JSON (GFD.226) and HTML."""
