"""A mix of wires, forms and models under open load, and what the processes hold meanwhile."""
