"""Read many parents at once, and turn what comes into rows, issues and cursors."""
