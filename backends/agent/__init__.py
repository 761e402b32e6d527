"""The agent: on each host, the one that makes what is into what should be."""
