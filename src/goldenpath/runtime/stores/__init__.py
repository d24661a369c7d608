"""Durable and in-memory implementations of the stores in interfaces.py."""
