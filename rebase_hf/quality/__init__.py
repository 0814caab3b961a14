"""What may pass: checks of answers, duplicates, contamination, the gate that decides by them, the whole set."""
