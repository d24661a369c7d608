"""Where the network ends: HTTP, SSE and WebSocket, over plain ASGI or with the socket handed to picows."""
