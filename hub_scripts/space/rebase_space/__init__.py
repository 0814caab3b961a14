"""What the Space does, apart from its page: the form, visitors' folders, runs, what is shown and downloaded."""
