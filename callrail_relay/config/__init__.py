"""
What the relay is told: its settings, and the secrets that are kept apart from them.

``places`` names the files, ``rules`` and ``durations`` say what a value may be,
``settings`` says what can be set, ``loading`` gathers it from flags,
environment and file, ``writing`` changes the file. ``secrets`` is the ladder of
places that keep the keys, ``os_keyring`` and ``secret_file`` are two of them.
"""
