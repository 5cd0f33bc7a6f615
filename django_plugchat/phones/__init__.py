"""What is a number? How one is normalised, shown, hidden, searched and found in other texts."""
