"""packetdrill scripts against the stack: parse, run in virtual time, report.

A script is a timeline of socket calls, packets of the peer and packets expected from the stack.
`parser` reads the language into the tree of `syntax`; `runner` plays it against a `leulo.stack`
that nobody else uses, without root, devices or real time; `report` says what happened. Begin
with `runner.run_text`.
"""
