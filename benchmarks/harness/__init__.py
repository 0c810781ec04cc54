"""What the topics of evidence share: a gateway to measure, loads, a model, and the record."""
