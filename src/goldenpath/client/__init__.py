"""A client that stays connected: runs agents, follows threads, and resumes where it was."""
