"""Taking a change back: by flags, by time-outs, by code."""
