"""Talks to a running engine over its OpenAI-style endpoint."""
