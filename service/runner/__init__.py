"""The managed tritonserver: how it is built, started, watched and stopped."""
