"""A load client that checks every event: `python -m bench.load --help`."""
