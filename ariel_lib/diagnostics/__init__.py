"""What a person looks at: figures and one self-contained page, drawn from arrays and from artifacts on disk."""
