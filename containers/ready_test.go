package containers_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/benchmail/benchmail/containers"
)

// A fakeTarget is a container that runs, and whose port is here.
type fakeTarget struct {
	wait.StrategyTarget
	port network.Port
}

func (fakeTarget) Host(context.Context) (string, error) { return "127.0.0.1", nil }

func (f fakeTarget) MappedPort(context.Context, string) (network.Port, error) { return f.port, nil }

func (fakeTarget) State(context.Context) (*container.State, error) {
	return &container.State{Running: true}, nil
}

// TestLimitOfGreeting: the error is about the server, and not about the moment
// at which the limit came.
func TestLimitOfGreeting(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	for _, tt := range []struct {
		name  string
		until time.Duration // when it stops to refuse, and says nothing
		says  string
		why   string
	}{
		{"cut short", limit * 3 / 4, `554 "No"`, "what the tries before have said"},
		{"most of the time", 0, "i/o timeout", "it was asked, and is silent"},
		{"silent after a while", limit / 10, "i/o timeout", "what was at first is over"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			began := time.Now()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					if time.Since(began) < tt.until {
						_, _ = io.WriteString(conn, "554 No\r\n")
						conn.Close()
						continue
					}
					defer conn.Close()
				}
			}()
			port, _ := network.PortFrom(uint16(l.Addr().(*net.TCPAddr).Port), network.TCP)
			err = containers.AwaitGreeting(t.Context(), fakeTarget{port: port}, limit)
			require.ErrorContains(t, err, "no SMTP greeting on port 25")
			assert.ErrorContains(t, err, tt.says, tt.why)
		})
	}
}
