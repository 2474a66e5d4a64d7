"""Read many parents at once, and turn their items into rows, issues and cursors."""
