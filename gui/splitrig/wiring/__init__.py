"""Joins bridges and pages: one module for each matter, built by `splitrig.app`."""
