"""
What a text is and what becomes of it: values and decisions, no I/O, no clock.

``payload`` reads what IF3 sends, ``mapper`` turns it into a message with the help of ``phone`` and
``routing``, ``segmentation`` cuts a text to CallRail's limit, ``guards`` hold what should not be sent,
``account`` counts, ``outcome`` names how an attempt ended and ``retry`` decides what follows.
"""
