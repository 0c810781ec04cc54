"""Measures a gateway as a black box: it imports neither the service nor the models."""
