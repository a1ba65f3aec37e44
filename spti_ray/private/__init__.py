"""How are private images read, and how do they vote? Nothing here prints, logs or tells what it sees."""
