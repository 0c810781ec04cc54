"""A server that stalls, and what a closed loop makes of it."""
