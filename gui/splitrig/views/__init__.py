"""The window: one folder a page, shared widgets, one theme."""
