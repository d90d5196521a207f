"""PostgreSQL, which is the truth: the tables, and one module of queries a noun."""
