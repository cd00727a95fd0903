"""What a text is and what becomes of it: values and decisions, no I/O, no clock."""
