"""The model repository on disk: its layout, and config.pbtxt as types."""
