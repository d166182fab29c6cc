"""Cells of transistors: one a file, each with its equation, its NumPy form and its parts."""
