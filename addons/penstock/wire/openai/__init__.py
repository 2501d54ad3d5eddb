"""OpenAI's APIs and those of their shape, one file each."""
