"""How fast a load is, next to other ways to do it and to what the machine can do at all."""
