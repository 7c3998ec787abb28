"""Trained networks, opened and put to use."""
