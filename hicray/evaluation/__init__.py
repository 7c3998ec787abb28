"""Scores on held-out chromosomes, baselines, and the seq-vs-noseq statement."""
