"""What crosses the network: AG-UI events, commands and replies, errors. Server and client speak through it."""
