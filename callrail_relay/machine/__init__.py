"""Facts about this computer that are neither a setting nor a library: its files, and how it is reached."""
