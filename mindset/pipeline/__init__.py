"""The stages of a build, and maintenance. Each stage can be killed and run again."""
