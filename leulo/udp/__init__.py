"""UDP sockets over the addresses of one stack: sans-IO, never blocking. [RFC 768]"""
