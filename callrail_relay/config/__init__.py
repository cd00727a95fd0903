"""The settings: what can be set, its rules, where it is read and saved; and the secrets, kept apart."""
