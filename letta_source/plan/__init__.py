"""Find out what there is to read for each resource, from which cursor on."""
