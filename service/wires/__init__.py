"""Bytes to protocol types and back, a file per format."""
