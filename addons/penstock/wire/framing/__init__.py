"""How streams are cut into events: SSE, event stream, NDJSON, arrays, WebSocket messages."""
