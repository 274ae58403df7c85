"""Asks servers on the internet and fetches files from them."""
