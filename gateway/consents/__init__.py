"""What people have consented to and refused: recorded, withdrawn, and told to those who hold data."""
