"""What a scan is worth: its own coherence, what is seen from where, and its photos rendered again."""
