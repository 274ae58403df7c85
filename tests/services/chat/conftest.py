"""Fixtures of the chat tests; they live in a module of their own so that tests can import it."""

from tests.services.chat.chat_servers import engine, listener, odd

__all__ = ["engine", "listener", "odd"]
