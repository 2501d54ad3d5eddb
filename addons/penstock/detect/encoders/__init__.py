"""Models a policy brings: exported transformers, asked in worker threads."""
