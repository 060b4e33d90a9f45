package turn_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/turn"
)

// TestTurnDoesNotAllocate plays both sides in one goroutine, so that nothing else
// is counted.
func TestTurnDoesNotAllocate(t *testing.T) {
	for _, tr := range transports[:2] {
		for _, lockstep := range []bool{false, true} {
			conn, peer := tr.pair(t)
			defer conn.Close()
			defer peer.Close()
			c := turn.New(conn)
			head, tail, in := []byte("MAIL"), []byte("RCPT"), make([]byte, 100)
			peerIn, ask := make([]byte, 100), make(chan struct{})
			done := make(chan error, 1)
			go func() {
				defer close(done)
				for range ask {
					for got := 0; got < 8; {
						n, err := peer.Read(peerIn)
						if got += n; err != nil {
							done <- err
							return
						}
					}
					if _, err := peer.Write(peerIn[:3]); err != nil {
						done <- err
						return
					}
				}
			}()
			c.Lockstep = lockstep
			allocs := testing.AllocsPerRun(200, func() {
				ask <- struct{}{}
				if wrote, n, err := c.WriteRead(head, tail, in); wrote != 8 || n != 3 || err != nil {
					t.Error(wrote, n, err)
				}
				ask <- struct{}{}
				if wrote, err := c.WriteAll(head, tail); wrote != 8 || err != nil {
					t.Error(wrote, err)
				}
				if n, err := c.Read(in); n != 3 || err != nil {
					t.Error(n, err)
				}
			})
			close(ask)
			require.NoError(t, <-done)
			assert.Zero(t, allocs, "%s, lockstep %v", tr.name, lockstep)
		}
	}
}
