"""Putting guests into RAM: executable formats and boot protocols."""
