"""Facts about this computer that are neither a setting nor a library: its drives."""
