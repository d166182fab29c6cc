"""The circuit in transistors of an open process: cells, their sizes, their errors, and what is measured of them."""
