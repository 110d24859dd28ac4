"""Does a world model get better at a facility when it has seen its clips: post-training and evaluation."""
