"""The lab's test of itself: a small reference server, faults that can be switched on in it, and whether the lab sees
each of them, and nothing where there is none."""
