"""What stands in files: PDF, office documents, pictures."""
