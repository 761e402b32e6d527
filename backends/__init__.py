"""The cloud itself: what exists, who may, where it runs, and the drivers that make it so."""
