"""Who may change what is served: every verb, caller and peer, and what each must be answered."""
