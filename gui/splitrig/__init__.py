"""SplitRig: the desktop control panel for local language models on several GPUs."""

import os

__version__ = "0.1.0"

# pydantic otherwise looks through every installed package for plugins, 70 ms before the window.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
