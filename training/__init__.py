"""What is learned from photographs, and the commands that learn it."""
