"""The search attribute by which the server's index knows what a run waits for."""

STATE_ATTRIBUTE = "KaigentsState"
"""Keyword: ``running``, ``waiting`` or ``parked``."""
