"""From shards to a searched, tracked set of trained models."""
