"""What every task queue shares: the books of all jobs, the calls on them, workers, and scaling."""
