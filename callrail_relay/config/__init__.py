"""
The settings, and the secrets that are kept apart from them.

``places`` names the files, ``types`` says what a value may be, ``settings`` what can be set, ``loading``
reads flags, environment and file, ``saving`` changes the file. ``secrets`` is the ladder of places that keep
the keys.
"""
