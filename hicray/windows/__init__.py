"""Aligned windows of maps and DNA: their plan, scale, shards and batches."""
