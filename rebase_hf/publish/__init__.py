"""Who may see what was made: cards, the report, and the Hub."""
