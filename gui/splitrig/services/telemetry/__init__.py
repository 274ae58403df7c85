"""Reads the cards: one source a driver, one sampler over all of them."""
