"""Typed task APIs: file bytes in, a meaning out, over the data plane."""
