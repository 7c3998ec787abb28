"""Folders and buckets, copies, progress bars."""
