"""hicray: sharpen Hi-C and micro-C contact maps, and find out whether DNA sequence helps."""

__version__ = "0.1.0"
