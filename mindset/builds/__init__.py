"""A build: from what the sources hold to a version that can be evaluated. Each stage can be killed and run again."""
