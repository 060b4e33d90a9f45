package peers_test

import "testing"

// BenchmarkAllocations is G9: counts, so that one round is as good as five. The
// difference of two runs leaves out what opening sessions costs.
func BenchmarkAllocations(b *testing.B) {
	const sessions, few, many = 10, 2_000, 22_000
	var client, server samples
	for b.Loop() {
		count := func(messages int) (float64, float64) {
			srv := startServer(b, serverSpec{})
			_, c := benchmail(b, clientSpec{Addr: srv.Addr, Sessions: sessions, Messages: messages})
			_, s := srv.end(b)
			return float64(c.Mallocs), float64(s.Mallocs)
		}
		c1, s1 := count(few)
		c2, s2 := count(many)
		client = append(client, (c2-c1)/(many-few))
		server = append(server, (s2-s1)/(many-few))
	}
	b.ReportMetric(0, "ns/op") // leaves it out: it would be a round's
	b.ReportMetric(client.median(), "client-allocs/op")
	b.ReportMetric(server.median(), "server-allocs/op")
	goals.record("G9 engine", client)
	goals.record("G9 server", server)
}
