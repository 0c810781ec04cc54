"""The load generator: an open loop inside Locust, and what watches the generator itself."""
