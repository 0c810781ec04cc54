"""Requests that no well-meaning client sends, what must come of each, and how to tell."""
