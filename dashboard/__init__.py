"""Watchroom: health checks, remembered and shown."""

__version__ = "0.1.0"
