"""All SQL: one file per subject, its tables and every query that touches them."""
