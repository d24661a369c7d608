"""The server, in the order a message travels: gateway, session, dispatcher, admission, engine, run, event log."""
