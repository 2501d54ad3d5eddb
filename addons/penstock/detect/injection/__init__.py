"""Orders to the model in what it reads: phrases, and a small linear model."""
