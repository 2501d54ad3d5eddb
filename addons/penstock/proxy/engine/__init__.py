"""The engine: mitmproxy's layers, replaced where they are unsafe for us. Knows no policy."""
