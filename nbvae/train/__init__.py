"""The trainer, what it is told, and what an interruption must not lose."""
