package main

// What differs between two versions.
const (
	version = "0"
	burn    = 0
)
