"""Every score, and intervals of differences."""
