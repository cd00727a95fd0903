"""This computer, as far as it is neither a setting nor a library: its drives."""
