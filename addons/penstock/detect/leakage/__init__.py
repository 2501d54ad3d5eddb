"""What answers carry out: canaries, system prompts, the conversation's own values, addresses."""
