"""The tables of 0.2.0: a new database begins with the newest ones, and those made by 0.2.0 begin here."""

revision = "1"
down_revision = None
