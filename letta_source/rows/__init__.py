"""Turn pages of items into Arrow tables: parsing, flattening, masks."""
