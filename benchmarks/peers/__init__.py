"""What a user might pick instead: each in a virtual environment and a process of its own."""
