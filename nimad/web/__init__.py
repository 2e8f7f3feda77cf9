"""`nimactl web`: pages about the memories for one person, on a loopback port; HTML, no scripts."""
