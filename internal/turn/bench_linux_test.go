package turn_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/turn"
)

const peerVariable = "BENCHMAIL_TURN_PEER"

// TestMain makes the test binary the peer of its own benchmarks, so that the CPU
// time of this process is the client's.
func TestMain(m *testing.M) {
	if os.Getenv(peerVariable) == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() { // the parent's end is this one's
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			defer conn.Close()
			reply, in := []byte("250 2.1.0 Ok\r\n"), make([]byte, 4096)
			for {
				if _, err := conn.Read(in); err != nil {
					return
				}
				if _, err := conn.Write(reply); err != nil {
					return
				}
			}
		}()
	}
}

func startPeer(b *testing.B) (addr string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerVariable+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { stdin.Close(); cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	require.True(b, lines.Scan(), "the peer's address")
	return lines.Text()
}

// BenchmarkTurn compares a Write and a Read with WriteRead, side by side:
// client-cpu-ns/op is the figure, ns/op is for orientation.
func BenchmarkTurn(b *testing.B) {
	command := []byte("MAIL FROM:<loadtest@example.org>\r\n")
	for _, conns := range []int{1, 100} {
		for _, bb := range []struct {
			name string
			turn func(conn net.Conn) func(in []byte) error
		}{
			{"net", func(conn net.Conn) func([]byte) error {
				return func(in []byte) error {
					if _, err := conn.Write(command); err != nil {
						return err
					}
					_, err := conn.Read(in)
					return err
				}
			}},
			{"turn", func(conn net.Conn) func([]byte) error { return writeRead(turn.New(conn), command) }},
			{"lockstep", func(conn net.Conn) func([]byte) error {
				c := turn.New(conn)
				c.Lockstep = true
				return writeRead(c, command)
			}},
		} {
			b.Run(fmt.Sprintf("conns=%d/%s", conns, bb.name), func(b *testing.B) {
				addr := startPeer(b)
				turns := make([]func([]byte) error, conns)
				for i := range turns {
					conn, err := net.Dial("tcp", addr)
					require.NoError(b, err)
					b.Cleanup(func() { conn.Close() })
					turns[i] = bb.turn(conn)
				}
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				before := cpuTime()
				for _, turn := range turns {
					wg.Go(func() {
						in := make([]byte, 4096)
						for left.Add(-1) >= 0 {
							if err := turn(in); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "client-cpu-ns/op")
			})
		}
	}
}

func writeRead(c *turn.Conn, command []byte) func([]byte) error {
	return func(in []byte) error {
		_, _, err := c.WriteRead(command, nil, in)
		return err
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
