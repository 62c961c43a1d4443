"""A whole installation in one directory: databases, buckets and private configuration."""
