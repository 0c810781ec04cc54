"""HTTP/2 (RFC 9113) as a server speaks it, decided without I/O and acted out at the edge."""
