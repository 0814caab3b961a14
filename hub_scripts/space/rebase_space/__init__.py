"""What the Space does, apart from its page: the form, a visitor's folder, the run, what is shown, what is downloaded."""
