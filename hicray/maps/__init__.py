"""Data files: contact maps, genomes, chromosomes and their splits."""
