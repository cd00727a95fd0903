"""callrail-relay: the texts of InvestorFuse IF3, sent through CallRail."""

__version__ = "0.1.0"
