"""
The pages of the private listener: ``now``, ``texts``, ``text``, ``conversation`` and ``setup`` each show one,
``actions`` carries out a person's word, ``events`` tells a page that something changed. ``frame`` is what
they share; ``words``, ``plots``, ``timeline`` and ``verdict`` turn values into what a template shows.
"""
