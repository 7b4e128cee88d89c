"""One run on several devices: a process per device, each of them a rank."""
