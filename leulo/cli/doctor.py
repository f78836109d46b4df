"""``leulo doctor``: what this computer offers and lacks, each with what to do about it."""
