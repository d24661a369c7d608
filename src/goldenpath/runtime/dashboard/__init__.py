"""What the operator page shows: samples of the server each second, the users who cause its load, what has changed."""
