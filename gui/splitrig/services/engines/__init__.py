"""Finds, starts, watches and stops engines; the only place that starts processes."""
