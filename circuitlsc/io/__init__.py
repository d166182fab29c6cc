"""Reading and writing: arrays and numbers that are checked, files that are opened safely and written whole, locks, tables."""
