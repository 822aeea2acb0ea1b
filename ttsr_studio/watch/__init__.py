"""The watch folder: a service that renders what is dropped into a root, a tree of folders.

`filesystem` says what lies there and what has stopped changing, `folder_config` what is to be done with it, `queue`
remembers every file in a database, `scanner` fills it and `job_runner` takes `job` after job from it. `workers` render
in processes of their own, `publish` puts the results in their place, `web` shows what goes on; `service` holds all of
it together.
"""
