"""The pre-GPU audit: everything that can fail on a paid machine is looked for here first, and nothing is changed."""
