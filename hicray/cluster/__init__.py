"""Starting or joining Ray, what a node has, and the watch over spot machines."""
