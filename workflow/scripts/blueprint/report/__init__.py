"""The pages that a person looks at: the report of a run and the comparison of two."""
