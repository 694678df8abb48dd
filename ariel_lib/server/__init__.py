"""A read-only web page of the files that commands write. Imports: reading ← runs, planet, documents, progress ← app."""
