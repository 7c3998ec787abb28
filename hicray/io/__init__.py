"""Files in folders and buckets, whole or not at all; locks, notes, progress."""
