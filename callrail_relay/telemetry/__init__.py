"""
Telling what happens: ``logs`` writes events where a person or a program reads them, ``metrics`` counts
them, ``alerts`` reaches the owner.
"""
