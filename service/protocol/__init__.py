"""Pure types of the Open Inference Protocol v2: no I/O, no wire format, no engine."""
