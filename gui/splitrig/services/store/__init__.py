"""Keeps settings and finds the program's own files."""
