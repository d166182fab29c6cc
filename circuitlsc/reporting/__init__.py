"""Figures and texts of what was measured."""
