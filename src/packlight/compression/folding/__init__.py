"""Constants, batch norms and biases computed once instead of at every run."""
