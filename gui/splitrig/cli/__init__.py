"""The headless commands, over the services; no Qt."""
