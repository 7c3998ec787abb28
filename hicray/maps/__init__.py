"""What the data is: genomes, contact maps, chromosomes and their splits."""
