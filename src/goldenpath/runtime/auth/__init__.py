"""Who is asking: passwords, tokens, sessions and external identity providers.

`Accounts` (accounts.py) is the one object the rest of the runtime talks to.
"""
