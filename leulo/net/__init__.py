"""Everything around TCP that is pure protocol: codecs, ARP, IPv4, ICMP, capture files.

Nothing here does I/O, reads a clock or draws a random number: packets and the time are given,
packets and the next deadline are given back.
"""
