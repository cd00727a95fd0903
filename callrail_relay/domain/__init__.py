"""
What a text is and what becomes of it: values and decisions, no I/O, no clock.

``payload`` reads what IF3 sends, ``mapper`` makes messages of it, ``segmentation`` cuts them, ``guards`` hold
what should not be sent, ``account`` counts, ``outcome`` is how an attempt ended, ``retry`` what follows.
"""
