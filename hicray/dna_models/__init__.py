"""Published models of DNA, and anybody's own, run once over a genome."""
