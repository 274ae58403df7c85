"""SplitRig: the desktop control panel for local language models on several GPUs."""

__version__ = "0.1.0"
