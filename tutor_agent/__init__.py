"""A tutor that fine-tunes language models with you. The package root imports nothing."""

__version__ = "0.1.0"
