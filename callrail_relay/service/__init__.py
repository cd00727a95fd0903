"""
What the relay does: ``intake`` takes texts in, ``delivery`` sends them,
``reconciliation`` settles what nobody knows, ``operations`` carries out a
person's word, ``health`` looks whether all is well.
"""
