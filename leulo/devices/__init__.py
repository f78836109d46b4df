"""The machine's chips, one a file.

A chip knows offsets from its own base, never addresses; it is handed a clock, an interrupt line
or a sink, never the machine. All have read, write, peek, reset, save and load; those with time
also next_deadline and advance, in the host's nanoseconds.
"""
