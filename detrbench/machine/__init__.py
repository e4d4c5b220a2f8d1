"""What this computer is, and what happened to it while something was measured."""
