// Package smtptest is an SMTP and LMTP server for tests, in the shape of
// net/http/httptest, and [Benchmark], which drives any mail server from a func
// BenchmarkX.
//
//	func TestWelcomeMail(t *testing.T) {
//		srv := smtptest.NewServer(t)
//		sendWelcomeMail(srv.Addr, srv.ClientTLSConfig()) // the code under test
//		msgs, err := srv.Wait(t.Context(), 1)
//		if err != nil {
//			t.Fatal(err)
//		}
//		t.Log(msgs[0].To, string(msgs[0].Data))
//	}
//
// # What the server does
//
// It listens on a free port of 127.0.0.1, offers STARTTLS with a certificate
// that was made for it ([Server.ClientTLSConfig] trusts it, and so does
// [Server.Dialer]), accepts all mail and keeps each message octet by octet. It is
// closed when the test ends. With other fields it speaks LMTP, listens on a unix
// socket, wants AUTH, has limits, or keeps nothing ([NewSink]).
//
// It offers PIPELINING, SIZE, STARTTLS, AUTH, ENHANCEDSTATUSCODES, 8BITMIME, DSN,
// SMTPUTF8, CHUNKING, BINARYMIME, LIMITS and XCLIENT, each with the semantics of
// its RFC, and checks what clients send: commands out of order, unknown
// parameters, and bad syntax are refused, lines of commands have to end with
// CRLF, and only CRLF.CRLF ends mail data. It is made to show what is wrong with
// a client, not to be nice to it. Two things are nicer than the RFCs: lines of
// mail data may be of any length, and bad commands never end a session.
//
// # Faults
//
// A [Hook] sees every command and may let the server wait, answer otherwise, or
// hang up in several ways; [Action] composes these. For the usual ones there are
// rules: which commands ([On]), which of them, and what then.
//
//	srv.Hook = smtptest.Chain(
//		smtptest.On("RCPT").First(3).Reply("450 4.2.0 Try later"),
//		smtptest.On(".").Every(100).HangUp(smtptest.Reset),
//	)
//
// # Benchmarks
//
// [Benchmark] sends one message for each iteration of b.Loop over a pool of
// sessions, with any [loadtest.Dialer], and reports what benchstat compares:
//
//	func BenchmarkDelivery(b *testing.B) {
//		addr, roots := startServer(b) // the server under test
//		d := &loadtest.SMTP{Addr: addr, TLSConfig: &tls.Config{RootCAs: roots}}
//		smtptest.Benchmark(b, d, loadtest.Config{Sessions: 16})
//	}
//
// # What is counted
//
// [Server.Messages] and [Stats].Messages count a message exactly when its
// positive reply is about to be written. So if a client counts as accepted what
// it got a positive reply for, and as in doubt what it sent without getting any
// reply, then accepted ≤ counted ≤ accepted + in doubt, whatever connections
// were lost.
package smtptest
