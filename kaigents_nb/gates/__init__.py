"""What people are asked, what they answer, and when it is decided: pure, one for who executes and who reads a run."""
