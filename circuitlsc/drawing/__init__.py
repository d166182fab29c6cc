"""Schematics, and pictures of crossbars."""
