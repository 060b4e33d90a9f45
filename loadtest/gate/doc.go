// Package gate says whether a commit made a server slower.
package gate
