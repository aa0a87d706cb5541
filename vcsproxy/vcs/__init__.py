"""Git as the worker sees it: transports, the local mirror, objects and revisions. Synchronous; worker process only."""
