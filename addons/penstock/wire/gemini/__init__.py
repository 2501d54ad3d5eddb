"""Google's Gemini APIs, one file each."""
