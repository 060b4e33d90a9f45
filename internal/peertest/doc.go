// Package peertest runs other people's mail programs for the tests: Postfix
// smtpd, smtp-sink and smtp-source, and swaks, as Debian packages them.
//
// Each program runs on a free loopback port or a unix socket, in a folder of
// its own, and ends with the test. A machine that has its own Postfix keeps it:
// nothing here reads or writes /etc/postfix or /var/spool/postfix.
//
// Where a program is missing, the test is skipped, with the name of the package
// to install. With BENCHMAIL_REQUIRE_PEERS=1 in the environment it fails
// instead: CI sets it, so that the peers cannot be lost unnoticed.
package peertest
