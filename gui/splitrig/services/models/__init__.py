"""Finds model files and reads their headers."""
