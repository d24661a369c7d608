"""Alerts: rules over named signals, who is told, and what is done."""
