"""What runs models, behind `protocol.ports.Engine`."""
