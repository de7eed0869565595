"""The model: its networks, its distributions, the fast way to its gradient, and its ELBO."""
