"""A genome and a map whose fine structure is known, and written in the DNA."""
