"""callrail-relay: the texts of InvestorFuse IF3, sent through CallRail."""

__version__ = "0.2.0"
