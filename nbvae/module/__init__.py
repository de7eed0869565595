"""The model: its networks, its distributions, and the fast way to its gradient."""
