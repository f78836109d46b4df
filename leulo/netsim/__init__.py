"""Simulated flows between two of our stacks: how the engine behaves, and a table to hold it to.

``simulation`` runs flows over a wire in virtual time, ``behaviour`` is the table of cases with
their bounds, ``plots`` draws what a flow did. ``leulo netsim`` is the front end.
"""
