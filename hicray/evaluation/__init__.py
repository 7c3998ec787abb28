"""Maps against a map; what a network has to beat."""
