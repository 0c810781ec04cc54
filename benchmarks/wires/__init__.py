"""Callers over both wires: they know each right answer, and how far a lost request got."""
