"""Many requests into one run of the engine, and its answer apart again."""
