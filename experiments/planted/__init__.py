"""Judging by the truth of a simulation."""
