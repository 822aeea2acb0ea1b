"""The watch folder: a service that renders what is dropped into a tree of folders.

`tree` says what lies there, `settling` what has stopped changing, `rules` what is to be done with it, `queue` remembers
every file in a database, `worker` renders in a process of its own under the eyes of `crew`, `delivery` puts the results
in their place, `service` holds all of it together.
"""
