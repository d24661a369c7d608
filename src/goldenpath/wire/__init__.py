"""What crosses the network: AG-UI events, commands and replies, errors. Server, client and lab all speak through it."""
