"""What is due, what is old, what is about one person, and what needs somebody?"""
