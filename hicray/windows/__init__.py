"""What the network eats: aligned windows, their scale, shards and batches."""
