"""Wrong inputs, by area: each a function that a user's slip stands in. What each gets said is in errors.txt."""
