"""A circuit that is compiled, its runs, and their samples."""
