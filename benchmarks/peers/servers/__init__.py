"""What each peer's own environment runs: programs of their own, which import nothing of ours."""
