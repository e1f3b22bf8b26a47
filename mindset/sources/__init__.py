"""Where documents come from: a listing that costs a stat each, and bytes on demand."""
