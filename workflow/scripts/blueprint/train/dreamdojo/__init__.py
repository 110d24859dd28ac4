"""NVIDIA's DreamDojo, post-trained and evaluated by its own programs."""
