"""What a person reads: the HTML report, the terminal table, the JUnit file."""
