"""Answers that do harm where they are used, or hurt."""
