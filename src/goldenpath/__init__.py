"""Goldenpath serves AI agents to many users at once, and proves that it does so correctly and fast."""

__version__ = "0.1.0"
