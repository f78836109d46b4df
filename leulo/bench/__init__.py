"""The figures of ``make bench``: Leulo beside this computer's own TCP, in one run.

Ratios are what counts: the two sides of each take turns, so that whatever else the computer does
meets both, and medians are shown. The plan is in plan.py, the network namespaces in network.py,
the programs that are measured in servers.py, those that measure in clients.py and stream.py.
"""
