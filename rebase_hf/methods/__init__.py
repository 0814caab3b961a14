"""One file a paper: which rows to take, and what to ask about them."""
