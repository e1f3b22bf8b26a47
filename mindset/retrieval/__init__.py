"""From a question to passages: dense and lexical search, fusion, and the visibility statement."""
