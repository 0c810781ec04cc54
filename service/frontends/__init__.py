"""The wires that clients call, and the table of statuses."""
