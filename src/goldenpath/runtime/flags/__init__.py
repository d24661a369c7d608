"""Feature flags: what is switched and rolled out while the server runs."""
