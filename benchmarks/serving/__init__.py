"""What serving costs beside the retrieval and the model that it serves, and what it stands."""
