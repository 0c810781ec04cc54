"""A gateway that is told to stop while it is asked: watched from outside, on both wires."""
