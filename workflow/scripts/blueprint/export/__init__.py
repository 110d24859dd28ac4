"""Training data: the clips that passed, in the layouts that trainers read, with splits that leak no trajectory."""
