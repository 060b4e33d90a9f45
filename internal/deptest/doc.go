// Package deptest has no code but a test: it holds which package may import
// which, as a linter that somebody has to run does not.
package deptest
