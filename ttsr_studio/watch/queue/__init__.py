"""The queue of jobs, in a database that outlives the service."""
