// Package smtpwire is the wire format of SMTP (RFC 5321) and LMTP (RFC 2033)
// for both sides: replies, commands and their parameters, mail data with its
// dot-stuffing, and BDAT (RFC 3030).
//
// It reads from and appends to byte slices and owns no connection: a parser is
// given what was read so far and says how much of it was one reply or one line,
// or that more is needed. Nothing here allocates for a well-formed reply or
// command, and nothing keeps a reference to the caller's bytes beyond what its
// documentation says.
package smtpwire
