"""What destinations can do, and what dlt does not do for them."""
