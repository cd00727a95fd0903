"""What the relay does with texts, by itself and on a person's command."""
