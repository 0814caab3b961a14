"""What may pass: checks of answers, duplicates, contamination, and the gate that decides by them."""
